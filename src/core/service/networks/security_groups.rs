//! Security groups and rules. Every project has a default group, made when somebody of it first looks.

use super::{Caller, NetworksService, follow_group, store};
use crate::core::actor::Actor;
use crate::core::ids::{ProjectId, SecurityGroupId, SecurityGroupRuleId};
use crate::core::listing::Listing;
use crate::core::security_group::{
    DEFAULT_GROUP, GroupChanges, NewGroup, NewRule, Remote, SecurityGroup, SecurityGroupRule,
    group_not_found, rule_not_found,
};
use crate::core::{Error, Result};
use crate::store::{Connection, ports, security_groups};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// A group with its rules, oldest first.
pub type GroupWithRules = (SecurityGroup, Vec<SecurityGroupRule>);

impl NetworksService {
    pub async fn list_groups(&self, actor: &Actor, listing: Listing) -> Result<Vec<GroupWithRules>> {
        let caller = Caller::of(actor);
        self.ensure_default_group(&caller).await?;
        let listing = caller.view(listing);
        self.read(move |c| {
            let groups = security_groups::list(c, &listing)?;
            let ids: Vec<SecurityGroupId> = groups.iter().map(|group| group.id).collect();
            let mut rules = security_groups::rules_of(c, &ids)?;
            Ok(groups
                .into_iter()
                .map(|group| {
                    let own = rules.remove(&group.id).unwrap_or_default();
                    (group, own)
                })
                .collect())
        })
        .await
    }

    /// Makes the caller's default group if it is not there yet; reads only when it is.
    async fn ensure_default_group(&self, caller: &Caller) -> Result<()> {
        let Some(project) = caller.project.clone() else { return Ok(()) };
        let wanted = project.clone();
        if self.read(move |c| Ok(security_groups::default_of(c, &wanted)?)).await?.is_some() {
            return Ok(());
        }
        let now = self.deps.clock.now();
        self.write(move |c| Ok(security_groups::ensure_default(c, &project, now)?)).await?;
        Ok(())
    }

    pub async fn show_group(&self, actor: &Actor, id: SecurityGroupId) -> Result<GroupWithRules> {
        let caller = Caller::of(actor);
        self.read(move |c| with_rules(c, visible(c, &caller, id)?)).await
    }

    /// The groups whose members these rules let in, those that the caller may see.
    pub async fn remotes<'a>(
        &self,
        actor: &Actor,
        rules: impl IntoIterator<Item = &'a SecurityGroupRule>,
    ) -> Result<HashMap<SecurityGroupId, SecurityGroup>> {
        let ids: BTreeSet<SecurityGroupId> =
            rules.into_iter().filter_map(|rule| rule.spec.remote_group()).collect();
        let caller = Caller::of(actor);
        self.read(move |c| {
            let groups = security_groups::get_all(c, &Vec::from_iter(ids))?.into_iter();
            Ok(groups
                .filter(|group| caller.rules(&group.project_id))
                .map(|group| (group.id, group))
                .collect())
        })
        .await
    }

    /// Makes all of the groups or none.
    pub async fn create_groups(&self, actor: &Actor, wanted: Vec<NewGroup>) -> Result<Vec<GroupWithRules>> {
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| wanted.into_iter().map(|group| create(c, &caller, group, now)).collect()).await
    }

    pub async fn update_group(
        &self,
        actor: &Actor,
        id: SecurityGroupId,
        changes: GroupChanges,
    ) -> Result<GroupWithRules> {
        let (caller, now) = (Caller::of(actor), self.deps.clock.now());
        self.write(move |c| {
            let mut group = visible(c, &caller, id)?;
            if let Some(name) = changes.name.filter(|name| *name != group.name) {
                if group.name == DEFAULT_GROUP {
                    return Err(Error::conflict("Updating default security group not allowed.")
                        .with_class("SecurityGroupCannotUpdateDefault"));
                }
                not_default(&name)?;
                group.name = name;
            }
            if changes.stateful.is_some_and(|stateful| stateful != group.stateful)
                && ports::any_in_group(c, id)?
            {
                return Err(in_use(id));
            }
            group.stateful = changes.stateful.unwrap_or(group.stateful);
            group.description = changes.description.unwrap_or(group.description);
            group.updated_at = now;
            group.revision += 1;
            security_groups::put(c, &group)?;
            with_rules(c, group)
        })
        .await
    }

    pub async fn delete_group(&self, actor: &Actor, id: SecurityGroupId) -> Result<()> {
        let caller = Caller::of(actor);
        self.write(move |c| {
            let group = visible(c, &caller, id)?;
            if group.name == DEFAULT_GROUP && !caller.admin {
                return Err(Error::conflict("Insufficient rights for removing default security group.")
                    .with_class("SecurityGroupCannotRemoveDefault"));
            }
            if ports::any_in_group(c, id)? {
                return Err(in_use(id));
            }
            Ok(security_groups::delete(c, id)?)
        })
        .await
    }

    pub async fn list_rules(&self, actor: &Actor, listing: Listing) -> Result<Vec<SecurityGroupRule>> {
        let caller = Caller::of(actor);
        self.ensure_default_group(&caller).await?;
        let listing = caller.view(listing);
        self.read(move |c| security_groups::list_rules(c, &listing)).await
    }

    pub async fn show_rule(&self, actor: &Actor, id: SecurityGroupRuleId) -> Result<SecurityGroupRule> {
        let caller = Caller::of(actor);
        self.read(move |c| visible_rule(c, &caller, id)).await
    }

    /// Makes all of the rules or none.
    pub async fn create_rules(&self, actor: &Actor, wanted: Vec<NewRule>) -> Result<Vec<SecurityGroupRule>> {
        let (caller, actor, now) = (Caller::of(actor), actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let made = wanted.into_iter().map(|rule| create_rule(c, &caller, rule, now));
            let made = made.collect::<Result<Vec<_>>>()?;
            let groups: BTreeSet<SecurityGroupId> = made.iter().map(|rule| rule.group_id).collect();
            for group in groups {
                follow_group(c, group, &actor, now)?;
            }
            Ok(made)
        })
        .await
    }

    pub async fn delete_rule(&self, actor: &Actor, id: SecurityGroupRuleId) -> Result<()> {
        let (caller, actor, now) = (Caller::of(actor), actor.clone(), self.deps.clock.now());
        self.write(move |c| {
            let rule = visible_rule(c, &caller, id)?;
            security_groups::delete_rule(c, id)?;
            security_groups::touch(c, rule.group_id, now)?;
            follow_group(c, rule.group_id, &actor, now)
        })
        .await
    }
}

fn in_use(id: SecurityGroupId) -> Error {
    Error::conflict(format!("Security Group {id} in use.")).with_class("SecurityGroupInUse")
}

fn not_default(name: &str) -> Result<()> {
    if name == DEFAULT_GROUP {
        return Err(Error::conflict("Default security group already exists.")
            .with_class("SecurityGroupDefaultAlreadyExists"));
    }
    Ok(())
}

pub(super) fn visible(
    connection: &Connection,
    caller: &Caller,
    id: SecurityGroupId,
) -> Result<SecurityGroup> {
    let found = security_groups::get(connection, id)?.filter(|group| caller.rules(&group.project_id));
    found.ok_or_else(|| group_not_found(id))
}

fn visible_rule(
    connection: &Connection,
    caller: &Caller,
    id: SecurityGroupRuleId,
) -> Result<SecurityGroupRule> {
    let found = security_groups::get_rule(connection, id)?.filter(|rule| caller.rules(&rule.project_id));
    found.ok_or_else(|| rule_not_found(id))
}

fn with_rules(connection: &Connection, group: SecurityGroup) -> Result<GroupWithRules> {
    let rules = security_groups::rules_of(connection, &[group.id])?.remove(&group.id).unwrap_or_default();
    Ok((group, rules))
}

fn create(
    connection: &Connection,
    caller: &Caller,
    wanted: NewGroup,
    now: Timestamp,
) -> Result<GroupWithRules> {
    let project: ProjectId = caller.project_for(wanted.project_id)?;
    not_default(&wanted.name)?;
    security_groups::ensure_default(connection, &project, now)?;
    store::check_quota(connection, &project, "security_group", 1)?;
    let group = SecurityGroup {
        id: SecurityGroupId::random(),
        project_id: project,
        name: wanted.name,
        description: wanted.description,
        stateful: wanted.stateful,
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    security_groups::insert_with_rules(connection, &group)?;
    with_rules(connection, group)
}

fn create_rule(
    connection: &Connection,
    caller: &Caller,
    wanted: NewRule,
    now: Timestamp,
) -> Result<SecurityGroupRule> {
    let group = visible(connection, caller, wanted.group_id)?;
    wanted.spec.check()?;
    if let Remote::Group(remote) = wanted.spec.remote {
        visible(connection, caller, remote)?;
    }
    if let Some(existing) = security_groups::equal_rule(connection, group.id, &wanted.spec)? {
        return Err(Error::conflict(format!("Security group rule already exists. Rule id is {existing}."))
            .with_class("SecurityGroupRuleExists"));
    }
    store::check_quota(connection, &group.project_id, "security_group_rule", 1)?;
    let rule = SecurityGroupRule {
        id: SecurityGroupRuleId::random(),
        group_id: group.id,
        project_id: group.project_id,
        description: wanted.description,
        spec: wanted.spec,
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    security_groups::insert_rule(connection, &rule)?;
    security_groups::touch(connection, group.id, now)?;
    Ok(rule)
}
