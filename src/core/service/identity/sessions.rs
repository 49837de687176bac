//! The cache of sessions: what a token says, by the token's hash.
//!
//! It is emptied whole by every identity change. A session that was read while a change was committed may be older than
//! the change: the generation tells, and such a session is used once and not kept.

use crate::core::identity::Session;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many sessions are kept at most; a session takes about half a KiB.
const CAPACITY: usize = 4096;

type Hash = [u8; 32];

/// SHA-256 of a token, which is all that is kept of it anywhere.
pub fn token_hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

#[derive(Default)]
pub(super) struct Sessions {
    generation: AtomicU64,
    sessions: Mutex<HashMap<Hash, Arc<Session>>>,
}

impl Sessions {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn get(&self, hash: &Hash, now: Timestamp) -> Option<Arc<Session>> {
        self.lock().get(hash).filter(|session| valid(session, now)).cloned()
    }

    /// Keeps a session, unless something changed since `generation`.
    pub(super) fn insert(&self, hash: Hash, session: Arc<Session>, generation: u64, now: Timestamp) {
        let mut sessions = self.lock();
        if self.generation() != generation {
            return;
        }
        if sessions.len() >= CAPACITY {
            sessions.retain(|_, session| valid(session, now));
        }
        if sessions.len() >= CAPACITY {
            // Whose turn it is does not matter: one that is still in use is read again.
            if let Some(any) = sessions.keys().next().copied() {
                sessions.remove(&any);
            }
        }
        sessions.insert(hash, session);
    }

    fn forget(&self) {
        let mut sessions = self.lock();
        self.generation.fetch_add(1, Ordering::SeqCst);
        sessions.clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Arc<Session>>> {
        // Nothing in here panics half-way through a change of the map.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn valid(session: &Session, now: Timestamp) -> bool {
    let credential_ends = session.credential.as_ref().and_then(|credential| credential.expires_at);
    session.expires_at > now && credential_ends.is_none_or(|end| end > now)
}

/// Empties the cache when it is dropped.
pub(super) struct Forget(Arc<Sessions>);

impl Forget {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Self(sessions)
    }
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::from_micros;
    use crate::core::identity::{DomainRef, Scope};

    fn session(expires_at: i64) -> Arc<Session> {
        Arc::new(Session {
            user_id: "u".into(),
            user_name: "u".into(),
            user_domain: DomainRef { id: "default".into(), name: "Default".into() },
            scope: Scope::Unscoped,
            roles: Vec::new(),
            credential: None,
            methods: Vec::new(),
            audit_ids: Vec::new(),
            issued_at: from_micros(0),
            expires_at: from_micros(expires_at),
        })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let sessions = Arc::new(Sessions::default());
        let before = sessions.generation();
        drop(Forget::new(sessions.clone()));
        sessions.insert([1; 32], session(10), before, from_micros(0));
        assert!(sessions.get(&[1; 32], from_micros(0)).is_none());
        sessions.insert([1; 32], session(10), sessions.generation(), from_micros(0));
        assert!(sessions.get(&[1; 32], from_micros(9)).is_some());
        assert!(sessions.get(&[1; 32], from_micros(10)).is_none(), "an expired session is not good");
    }

    #[test]
    fn the_cache_stays_bounded() {
        let sessions = Sessions::default();
        for n in 0..CAPACITY + 100 {
            sessions.insert(token_hash(&n.to_string()), session(10), 0, from_micros(0));
        }
        assert_eq!(sessions.lock().len(), CAPACITY);
    }
}
