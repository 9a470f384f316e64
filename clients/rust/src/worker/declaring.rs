//! Tells a server what a worker's kinds are, before the worker takes jobs.

use tokio::time::sleep;

use super::link::HOPELESS;
use super::session::Session;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::errors::Error;
use crate::typed::SyncedKind;

/// Syncs kinds with the first server that answers, and waits for one as long as it takes. An error is what no other try
/// will mend.
pub(super) async fn declare(session: &Session) -> Result<(), Error> {
    let settings = &session.settings;
    let (mut waits, mut said) = (Backoff::of_worker(), false);
    for target in settings.targets.iter().cycle() {
        let mut client = Client::builder(target).access(settings.access.clone());
        if let Some(encodings) = &settings.encodings {
            client = client.encodings(encodings.clone());
        }
        let client = client.build()?;
        match client.sync_kinds(settings.declared.clone()).await {
            Ok(synced) => {
                synced.iter().for_each(tell);
                return Ok(());
            }
            Err(error) if HOPELESS.iter().any(|kind| error.is(*kind)) => return Err(error),
            Err(error) => {
                session.lock().broken(&error, false);
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(target, %error, "the kinds are not synced yet");
                }
                sleep(waits.next()).await;
            }
        }
    }
    Ok(())
}

fn tell(synced: &SyncedKind) {
    let (name, version) = (&synced.kind.name, synced.kind.version);
    if synced.newer {
        tracing::info!("the kind {name} is left as it is: the server has version {version} of it");
    } else if synced.changed {
        tracing::info!("the kind {name} is synced");
    }
}
