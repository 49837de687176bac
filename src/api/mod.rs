//! HTTP only: routes, tokens, microversions, JSON shapes, faults, links, paging.
//!
//! A request becomes a typed command or query for `core::service`, the answer becomes a view. No SQL, no libvirt, no
//! files in here, and no API knows another: what they share lies in this folder's own files.
//!
//! | path | API |
//! |---|---|
//! | `/`, `/v2`, `/v2.1` | compute |
//! | `/identity` | identity v3 |
//! | `/image` | image v2 |
//! | `/network` | network v2.0 |

pub mod call;
pub mod error;
pub mod page;
pub mod router;

use crate::core::service::Services;
use std::sync::Arc;

/// What every handler can reach.
pub struct Shared {
    pub services: Services,
    /// The base URL that clients use when a proxy in front hides it; `None` takes it from each request.
    pub public_base: Option<String>,
}

pub type State = Arc<Shared>;
