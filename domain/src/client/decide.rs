//! Every rule about a client.

use super::{Author, Client, ClientCommand, ClientError, ClientEvent, ClientMetadata, Registration, Stage, limits};

impl Client {
    /// What follows from a command, or why nothing does. An empty answer means that it holds already.
    pub fn decide(&self, command: ClientCommand) -> Result<Vec<ClientEvent>, ClientError> {
        match command {
            ClientCommand::Register { metadata, secret, owner, registration_access_token, widest, by, at } => {
                if !matches!(self.stage, Stage::Absent) {
                    return Err(ClientError::AlreadyExists);
                }
                let metadata = valid(named_by(by, metadata, false))?;
                metadata.check_new_name(None)?;
                limits::check(&metadata, by, widest.as_ref(), None)?;
                check_secret(&metadata, secret.is_some())?;
                let by = Some(by);
                Ok(vec![ClientEvent::Registered { metadata, secret, owner, registration_access_token, by, at }])
            }
            ClientCommand::Update { metadata, secret, vouch, widest, by, at } => {
                let registration = self.registered()?;
                let metadata = valid(named_by(by, metadata, registration.metadata.resource_server))?;
                metadata.check_new_name(Some(&registration.metadata))?;
                limits::check(&metadata, by, widest.as_ref(), Some(registration))?;
                let keeps = metadata.has_secret() && !metadata.needs_new_secret(&registration.metadata);
                check_secret(&metadata, secret.is_some() || (keeps && registration.secret.is_some()))?;
                let (vouched, by) = (vouch && by == Author::Operator, Some(by));
                let mut events = Vec::new();
                if metadata != registration.metadata || (vouched && !registration.is_vouched()) {
                    events.push(ClientEvent::Updated { metadata, vouched, by, at });
                }
                events.extend(secret.map(|secret| ClientEvent::SecretRotated { secret, by, at }));
                Ok(events)
            }
            ClientCommand::RotateSecret { secret, by, at } => {
                if !self.registered()?.metadata.has_secret() {
                    return Err(ClientError::SecretUnexpected);
                }
                Ok(vec![ClientEvent::SecretRotated { secret, by: Some(by), at }])
            }
            ClientCommand::Disable { by, at } => match self.stage {
                // What an operator did goes before what others did.
                Stage::Disabled(_, held) if held == Author::Operator || by != Author::Operator => Ok(Vec::new()),
                _ => self.registered().map(|_| vec![ClientEvent::Disabled { by: Some(by), at }]),
            },
            ClientCommand::Enable { by, at } => match self.stage {
                Stage::Enabled(_) => Ok(Vec::new()),
                Stage::Disabled(_, Author::Operator) if by != Author::Operator => Err(ClientError::DisabledByOperator),
                _ => self.registered().map(|_| vec![ClientEvent::Enabled { by: Some(by), at }]),
            },
            ClientCommand::Delete { by, at } => match self.stage {
                Stage::Deleted => Ok(Vec::new()),
                _ => self.registered().map(|_| vec![ClientEvent::Deleted { by: Some(by), at }]),
            },
        }
    }

    fn registered(&self) -> Result<&Registration, ClientError> {
        match &self.stage {
            Stage::Absent => Err(ClientError::NotFound),
            Stage::Deleted => Err(ClientError::Deleted),
            Stage::Enabled(registration) | Stage::Disabled(registration, _) => Ok(registration),
        }
    }
}

/// RFC 7662 4: only an operator makes a resource server, and only an operator ends one.
fn named_by(by: Author, metadata: ClientMetadata, resource_server: bool) -> ClientMetadata {
    match by {
        Author::Operator => metadata,
        Author::InitialAccessToken | Author::User | Author::Anonymous => ClientMetadata { resource_server, ..metadata },
    }
}

fn valid(metadata: ClientMetadata) -> Result<ClientMetadata, ClientError> {
    let metadata = metadata.normalized();
    metadata.validate()?;
    Ok(metadata)
}

fn check_secret(metadata: &ClientMetadata, has_secret: bool) -> Result<(), ClientError> {
    match (metadata.has_secret(), has_secret) {
        (true, false) => Err(ClientError::SecretMissing),
        (false, true) => Err(ClientError::SecretUnexpected),
        _ => Ok(()),
    }
}
