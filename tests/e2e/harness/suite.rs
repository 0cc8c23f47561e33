//! The list of cases, and how one becomes a test for each store.

use std::{future::Future, pin::Pin, sync::LazyLock, time::Duration};

use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;

use super::{Server, Store, server};

/// One runtime for everything: servers shared between cases outlive each of them.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));

/// The longest that any case may take.
const CASE_TIMEOUT: Duration = Duration::from_secs(180);

pub type CaseFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A rule and how it is tried.
pub struct Case {
    /// `e2e::oauth::revoke::the_rule`.
    pub name: &'static str,
    pub run: Run,
}

/// What a case needs.
#[derive(Clone, Copy)]
pub enum Run {
    /// Clients and users of its own on a server that other cases use at the same time; on both stores.
    Shared(fn(Server) -> CaseFuture),
    /// A server of its own, which it starts with the settings that it is about; on both stores.
    Own(fn(Store) -> CaseFuture),
    /// As `Own`, on one store only.
    On(Store, fn(Store) -> CaseFuture),
}

/// `shared![a, b]`: cases that take a [`Server`] others use too.
macro_rules! shared {
    ($($case:ident),* $(,)?) => { &[$($crate::harness::suite::Case {
        name: concat!(module_path!(), "::", stringify!($case)),
        run: $crate::harness::suite::Run::Shared(|server| Box::pin($case(server))),
    }),*] };
}

/// `own![a, b]`: cases that take a [`Store`] and start their own server on it.
macro_rules! own {
    ($($case:ident),* $(,)?) => { &[$($crate::harness::suite::Case {
        name: concat!(module_path!(), "::", stringify!($case)),
        run: $crate::harness::suite::Run::Own(|store| Box::pin($case(store))),
    }),*] };
}

/// `on![Postgres: a, b]`: cases that make sense on one store only.
macro_rules! on {
    ($store:ident: $($case:ident),* $(,)?) => { &[$($crate::harness::suite::Case {
        name: concat!(module_path!(), "::", stringify!($case)),
        run: $crate::harness::suite::Run::On($crate::harness::Store::$store, |store| Box::pin($case(store))),
    }),*] };
}

pub(crate) use {on, own, shared};

/// One test for each case and store, named `sqlite::oauth::revoke::the_rule`.
pub fn trials<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in cases {
        let stores: &[Store] = match &case.run {
            Run::On(store, _) => std::slice::from_ref(store),
            Run::Shared(_) | Run::Own(_) => &[Store::Sqlite, Store::Postgres],
        };
        trials.extend(stores.iter().map(|&store| trial(case, store)));
    }
    trials
}

fn trial(case: &Case, store: Store) -> Trial {
    let run = case.run;
    let name = format!("{store}::{}", case.name.trim_start_matches("e2e::"));
    let trial = Trial::test(name, move || {
        let case = async move {
            match run {
                Run::Shared(case) => case(server::shared(store).await).await,
                Run::Own(case) | Run::On(_, case) => case(store).await,
            }
        };
        RUNTIME
            .block_on(async { tokio::time::timeout(CASE_TIMEOUT, case).await })
            .map_err(|_| Failed::from(format!("took longer than {CASE_TIMEOUT:?}")))
    });
    // Not silent: the summary counts it as ignored, and tests/run always sets the URL.
    if store == Store::Postgres && Store::postgres_url().is_none() { trial.with_ignored_flag(true) } else { trial }
}
