//! What a server does beside answering: tasks that run for as long as it does. One that ends, ends the server, so that
//! whoever supervises it starts it anew: a server without its keys, partitions or consequences must not look well.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Dropping it ends the tasks.
#[derive(Debug, Default)]
pub struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Background {
    /// Runs `task`, which is meant never to end.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }

    /// Waits until a task has ended, and says which. Waits for ever when there is none.
    pub async fn ended(&mut self) -> String {
        let ended = match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => ended,
        };
        let (id, how) = match &ended {
            Ok((id, ())) => (*id, "ended".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        format!("{}: {how}", self.names.get(&id).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_noticed_by_its_name() {
        let mut background = Background::default();
        background.spawn("for ever", std::future::pending());
        background.spawn("panics", async { panic!("as this test wants it") });
        let ended = background.ended().await;
        assert!(ended.starts_with("panics: ") && ended.contains("as this test wants it"), "{ended}");
        background.spawn("ends", async {});
        assert_eq!(background.ended().await, "ends: ended");
    }
}
