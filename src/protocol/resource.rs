//! Named locks that a run takes besides its job's own, on the same session, so that they die with it.
//!
//! What is easy to get wrong: advisory locks are re-entrant within a session, so a resource taken twice by one run must
//! be given back twice. And since locks vanish with their session, the run's row also says which it held: the only
//! trace that a lost run leaves.

use super::{fence::Held, run::Stop};
use crate::statements;

/// A resource that a run holds.
#[must_use]
pub(crate) struct Resource {
    class: i32,
    id: i32,
    name: String,
}

impl Held {
    /// Tries to take a resource exclusively; `None` if another session holds it. Never waits.
    pub(crate) async fn take_resource(&mut self, name: &str) -> Result<Option<Resource>, Stop> {
        let (_, session) = self.session().await?;
        let row = session.one(statements::RESOURCE_LOCK, &[&name]).await?;
        let (class, id) = (row.get(0), row.get(1));
        if !session.try_lock(class, id).await? {
            return Ok(None);
        }
        self.resources.push(name.to_owned());
        self.note_resources().await?;
        Ok(Some(Resource { class, id, name: name.to_owned() }))
    }

    /// Gives a resource back.
    pub(crate) async fn give_resource(&mut self, resource: Resource) -> Result<(), Stop> {
        let (_, session) = self.session().await?;
        let held = session.unlock(resource.class, resource.id).await?;
        debug_assert!(held, "resource {} was held", resource.name);
        if let Some(at) = self.resources.iter().rposition(|name| *name == resource.name) {
            self.resources.remove(at);
        }
        self.note_resources().await
    }

    async fn note_resources(&mut self) -> Result<(), Stop> {
        let names = serde_json::json!(self.resources);
        let (claim, session) = self.session().await?;
        let run = claim.run_id;
        session.one(statements::NOTE_RESOURCES, &[&run, &names]).await?;
        Ok(())
    }
}
