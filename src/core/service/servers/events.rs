//! What other services tell of servers.

use super::Servers;
use crate::core::Result;
use crate::core::ids::ServerId;
use crate::store::servers;
use std::collections::HashMap;

/// What became of word for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Delivered,
    /// The server is on no host, so that nobody waits for word of it.
    NoHost,
    Unknown,
}

impl Servers {
    /// Where word for these servers would arrive.
    ///
    /// Nothing that other services could tell changes anything: networks and ports are this process's own, servers never wait
    /// for somebody else's, and there are no volumes or accelerators.
    pub async fn reach(&self, ids: Vec<ServerId>) -> Result<HashMap<ServerId, Told>> {
        self.deps
            .store
            .read(move |c| {
                let look = |id: ServerId| {
                    let told = match servers::get(c, id)? {
                        None => Told::Unknown,
                        Some(server) if server.host.is_none() => Told::NoHost,
                        Some(_) => Told::Delivered,
                    };
                    Ok((id, told))
                };
                ids.into_iter().map(look).collect()
            })
            .await
    }
}
