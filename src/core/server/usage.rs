//! What servers had over a time: for how long each was there, and what that makes for a project.

use super::state::VmState;
use crate::core::ids::{ProjectId, ServerId};
use jiff::{SignedDuration, Timestamp};

/// A time in the past, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Which servers are asked for: those that were there at any moment of the period, by project and id.
#[derive(Debug, Clone)]
pub struct UsageQuery {
    pub period: Period,
    /// `None` means all projects.
    pub project: Option<ProjectId>,
    pub limit: usize,
    /// The last server of the page before.
    pub marker: Option<ServerId>,
}

/// A server as it is counted, living or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedServer {
    pub id: ServerId,
    pub name: String,
    pub project_id: ProjectId,
    pub flavor_name: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    /// Root and ephemeral disk.
    pub disk_gib: u64,
    pub vm_state: VmState,
    pub launched_at: Timestamp,
    pub terminated_at: Option<Timestamp>,
}

impl UsedServer {
    /// The hours of the period during which the server was there.
    pub fn hours(&self, period: Period) -> f64 {
        let from = self.launched_at.max(period.from);
        let to = self.terminated_at.map_or(period.to, |end| end.min(period.to));
        to.duration_since(from).max(SignedDuration::ZERO).as_secs_f64() / 3600.0
    }

    /// The whole seconds that the server has been there until now, or was there.
    pub fn uptime(&self, now: Timestamp) -> i64 {
        self.terminated_at.unwrap_or(now).duration_since(self.launched_at).as_secs().max(0)
    }
}

/// What the servers of one project make together.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectUsage {
    pub project_id: ProjectId,
    pub servers: Vec<UsedServer>,
}

impl ProjectUsage {
    /// Splits servers, which come ordered by project.
    pub fn of(servers: Vec<UsedServer>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for server in servers {
            match all.last_mut() {
                Some(last) if last.project_id == server.project_id => last.servers.push(server),
                _ => all.push(Self { project_id: server.project_id.clone(), servers: vec![server] }),
            }
        }
        all
    }

    pub fn hours(&self, period: Period) -> f64 {
        self.sum(period, |_| 1)
    }

    pub fn vcpu_hours(&self, period: Period) -> f64 {
        self.sum(period, |server| u64::from(server.vcpus))
    }

    pub fn mib_hours(&self, period: Period) -> f64 {
        self.sum(period, |server| server.memory_mib)
    }

    pub fn gib_hours(&self, period: Period) -> f64 {
        self.sum(period, |server| server.disk_gib)
    }

    #[expect(clippy::cast_precision_loss, reason = "no server has as much as a float cannot count")]
    fn sum(&self, period: Period, counted: impl Fn(&UsedServer) -> u64) -> f64 {
        self.servers.iter().map(|server| counted(server) as f64 * server.hours(period)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::from_micros;

    fn at(minutes: i64) -> Timestamp {
        from_micros(1_700_000_000_000_000 + minutes * 60_000_000)
    }

    fn server(project: &str, launched: i64, terminated: Option<i64>) -> UsedServer {
        UsedServer {
            id: ServerId::random(),
            name: "s".into(),
            project_id: project.into(),
            flavor_name: "f".into(),
            vcpus: 2,
            memory_mib: 512,
            disk_gib: 3,
            vm_state: VmState::Active,
            launched_at: at(launched),
            terminated_at: terminated.map(at),
        }
    }

    #[test]
    fn only_the_time_within_the_period_counts() {
        let period = Period { from: at(0), to: at(120) };
        let hours = |launched, terminated| server("p", launched, terminated).hours(period);
        assert!((hours(-60, None) - 2.0).abs() < 1e-9);
        assert!((hours(30, Some(60)) - 0.5).abs() < 1e-9);
        assert!((hours(90, Some(600)) - 0.5).abs() < 1e-9);
        assert!(hours(-60, Some(-30)).abs() < 1e-9);
        assert_eq!(server("p", 0, None).uptime(at(3)), 180);
        assert_eq!(server("p", 0, Some(2)).uptime(at(3)), 120);
    }

    #[test]
    fn projects_are_summed_each_for_itself() {
        let servers = vec![server("a", 0, None), server("a", 60, None), server("b", 0, Some(30))];
        let all = ProjectUsage::of(servers);
        let period = Period { from: at(0), to: at(120) };
        assert_eq!(all.iter().map(|one| one.servers.len()).collect::<Vec<_>>(), [2, 1]);
        assert!((all[0].hours(period) - 3.0).abs() < 1e-9);
        assert!((all[0].vcpu_hours(period) - 6.0).abs() < 1e-9);
        assert!((all[0].mib_hours(period) - 1536.0).abs() < 1e-9);
        assert!((all[1].gib_hours(period) - 1.5).abs() < 1e-9);
    }
}
