//! What servers had over a time.

use super::Servers;
use crate::core::server::usage::{UsageQuery, UsedServer};
use crate::core::{Error, Result};
use crate::store::server_list::ListError;
use crate::store::server_times;

impl Servers {
    /// A page of the servers that were there, by project and id. Whose servers are shown is the query's to say.
    ///
    /// # Errors
    /// Invalid for a marker that names no server.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsedServer>> {
        let found = self.deps.store.read(move |c| server_times::in_period(c, &query)).await;
        found.map_err(|error| match error {
            ListError::UnknownMarker(marker) => {
                Error::invalid(format!("Marker {marker} could not be found."))
            }
            ListError::Store(cause) => cause.into(),
        })
    }
}
