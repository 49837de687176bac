//! `POST /servers/{id}/action`: one key says what is to be done, its value how.

use super::{
    addresses, authorize, consoles, groups, id, images, moves, power, rebuild, rescue, resize, shelve, tables,
};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::request;
use crate::api::compute::schema::{self, Schema, wire};
use crate::api::router::{ALWAYS, Window};
use crate::core::ids::ServerId;
use crate::core::policy::Rule;
use crate::core::service::servers::ResetTo;
use crate::core::{Error, Kind};
use actix_web::http::StatusCode;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Carries out one action; the value is that of its key.
type Handler = fn(Call, ServerId, Value) -> LocalBoxFuture<'static, Outcome>;

/// One action.
pub struct Action {
    /// The key of the body.
    pub name: &'static str,
    pub window: Window,
    pub rule: Rule,
    /// What the whole body has to be.
    pub body: &'static Schema,
    pub handler: Handler,
}

macro_rules! action {
    ($name:literal, $window:expr, $rule:expr, $body:expr, $handler:path) => {
        Action {
            name: $name,
            window: $window,
            rule: $rule,
            body: $body,
            handler: |call, id, value| Box::pin($handler(call, id, value)),
        }
    };
}

/// All actions.
pub static ACTIONS: &[Action] = &[
    action!("os-start", ALWAYS, Rule::Member("os_compute_api:servers:start"), &tables::ANY_ACTION, start),
    action!("os-stop", ALWAYS, Rule::Member("os_compute_api:servers:stop"), &tables::ANY_ACTION, stop),
    action!("reboot", ALWAYS, Rule::Member("os_compute_api:servers:reboot"), &tables::REBOOT, reboot),
    action!(
        "pause",
        ALWAYS,
        Rule::Member("os_compute_api:os-pause-server:pause"),
        &tables::ANY_ACTION,
        power::pause
    ),
    action!(
        "unpause",
        ALWAYS,
        Rule::Member("os_compute_api:os-pause-server:unpause"),
        &tables::ANY_ACTION,
        power::unpause
    ),
    action!(
        "suspend",
        ALWAYS,
        Rule::Member("os_compute_api:os-suspend-server:suspend"),
        &tables::ANY_ACTION,
        power::suspend
    ),
    action!(
        "resume",
        ALWAYS,
        Rule::Member("os_compute_api:os-suspend-server:resume"),
        &tables::ANY_ACTION,
        power::resume
    ),
    action!(
        "trigger_crash_dump",
        Window(17, u16::MAX),
        Rule::Member("os_compute_api:servers:trigger_crash_dump"),
        &tables::TRIGGER_CRASH_DUMP,
        power::trigger_crash_dump
    ),
    action!(
        "rebuild",
        ALWAYS,
        Rule::Member("os_compute_api:servers:rebuild"),
        &tables::REBUILD,
        rebuild::rebuild
    ),
    action!("rescue", ALWAYS, Rule::Member("os_compute_api:os-rescue"), &tables::RESCUE, rescue::rescue),
    action!(
        "unrescue",
        ALWAYS,
        Rule::Member("os_compute_api:os-unrescue"),
        &tables::ANY_ACTION,
        rescue::unrescue
    ),
    action!(
        "changePassword",
        ALWAYS,
        Rule::Member("os_compute_api:os-admin-password"),
        &tables::CHANGE_PASSWORD,
        rescue::change_password
    ),
    action!("lock", ALWAYS, Rule::Member("os_compute_api:os-lock-server:lock"), &tables::LOCK, lock),
    action!(
        "unlock",
        ALWAYS,
        Rule::Member("os_compute_api:os-lock-server:unlock"),
        &tables::ANY_ACTION,
        unlock
    ),
    action!(
        "forceDelete",
        ALWAYS,
        Rule::Member("os_compute_api:os-deferred-delete:force"),
        &tables::ANY_ACTION,
        force_delete
    ),
    action!(
        "os-resetState",
        ALWAYS,
        Rule::Admin("os_compute_api:os-admin-actions:reset_state"),
        &tables::RESET_STATE,
        reset_state
    ),
    action!(
        "injectNetworkInfo",
        ALWAYS,
        Rule::Admin("os_compute_api:os-admin-actions:inject_network_info"),
        &tables::ANY_ACTION,
        inject_network_info
    ),
    action!(
        "os-getConsoleOutput",
        ALWAYS,
        Rule::Member("os_compute_api:os-console-output"),
        &tables::CONSOLE_OUTPUT,
        console_output
    ),
    action!("os-getVNCConsole", Window(0, 5), consoles::RULE, &tables::VNC_CONSOLE, consoles::vnc),
    action!("os-getSPICEConsole", Window(0, 5), consoles::RULE, &tables::SPICE_CONSOLE, consoles::spice),
    action!("os-getSerialConsole", Window(0, 5), consoles::RULE, &tables::SERIAL_CONSOLE, consoles::serial),
    action!("os-getRDPConsole", Window(0, 5), consoles::RULE, &tables::RDP_CONSOLE, consoles::rdp),
    action!(
        "createImage",
        ALWAYS,
        Rule::Member("os_compute_api:servers:create_image"),
        &images::CREATE_IMAGE,
        images::create_image
    ),
    action!(
        "createBackup",
        ALWAYS,
        Rule::Member("os_compute_api:os-create-backup"),
        &images::CREATE_BACKUP,
        images::create_backup
    ),
    action!(
        "shelve",
        ALWAYS,
        Rule::Member("os_compute_api:os-shelve:shelve"),
        &tables::ANY_ACTION,
        shelve::shelve
    ),
    action!(
        "shelveOffload",
        ALWAYS,
        Rule::Admin("os_compute_api:os-shelve:shelve_offload"),
        &tables::ANY_ACTION,
        shelve::shelve_offload
    ),
    action!(
        "unshelve",
        ALWAYS,
        Rule::Member("os_compute_api:os-shelve:unshelve"),
        &shelve::UNSHELVE,
        shelve::unshelve
    ),
    action!(
        "restore",
        ALWAYS,
        Rule::Member("os_compute_api:os-deferred-delete:restore"),
        &tables::ANY_ACTION,
        shelve::restore
    ),
    action!("resize", ALWAYS, Rule::Member("os_compute_api:servers:resize"), &resize::BODY, resize::resize),
    action!(
        "confirmResize",
        ALWAYS,
        Rule::Member("os_compute_api:servers:confirm_resize"),
        &tables::ANY_ACTION,
        resize::confirm
    ),
    action!(
        "revertResize",
        ALWAYS,
        Rule::Member("os_compute_api:servers:revert_resize"),
        &tables::ANY_ACTION,
        resize::revert
    ),
    action!(
        "migrate",
        ALWAYS,
        Rule::Manager("os_compute_api:os-migrate-server:migrate"),
        &moves::MIGRATE,
        moves::migrate
    ),
    action!(
        "os-migrateLive",
        ALWAYS,
        Rule::Manager("os_compute_api:os-migrate-server:migrate_live"),
        &moves::MIGRATE_LIVE,
        moves::migrate_live
    ),
    action!("evacuate", ALWAYS, Rule::Admin("os_compute_api:os-evacuate"), &moves::EVACUATE, moves::evacuate),
    action!(
        "addSecurityGroup",
        ALWAYS,
        Rule::Member("os_compute_api:os-security-groups:add"),
        &tables::ANY_ACTION,
        groups::add
    ),
    action!(
        "removeSecurityGroup",
        ALWAYS,
        Rule::Member("os_compute_api:os-security-groups:remove"),
        &tables::ANY_ACTION,
        groups::remove
    ),
    action!(
        "addFixedIp",
        Window(0, 43),
        Rule::Member("os_compute_api:os-multinic:add"),
        &addresses::ADD_FIXED,
        addresses::add_fixed
    ),
    action!(
        "removeFixedIp",
        Window(0, 43),
        Rule::Member("os_compute_api:os-multinic:remove"),
        &addresses::REMOVE_FIXED,
        addresses::remove_fixed
    ),
    action!(
        "addFloatingIp",
        Window(0, 43),
        Rule::Member("os_compute_api:os-floating-ips:add"),
        &addresses::ADD_FLOATING,
        addresses::add_floating
    ),
    action!(
        "removeFloatingIp",
        Window(0, 43),
        Rule::Member("os_compute_api:os-floating-ips:remove"),
        &addresses::REMOVE_FLOATING,
        addresses::remove_floating
    ),
    action!("resetNetwork", ALWAYS, Rule::Token, &tables::ANY_ACTION, reset_network),
];

/// Finds the action and checks it, in Nova's order.
pub async fn act(mut call: Call) -> Outcome {
    let mut body = request::json(&mut call).await?;
    let name = schema::single_key(&body)?.to_owned();
    let mut known = ACTIONS.iter().filter(|action| action.name == name).peekable();
    if known.peek().is_none() {
        return Err(Error::invalid(format!("There is no such action: {name}")).into());
    }
    let Some(action) = known.find(|action| action.window.holds(call.minor)) else {
        return Err(Error::not_found("The resource could not be found.").into());
    };
    schema::body(action.body, &mut body, request::context(&call))?;
    call.rule = action.rule;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let value = body.get_mut(&name).map(Value::take).unwrap_or_default();
    (action.handler)(call, id, value).await
}

/// 202.
pub(super) fn accepted() -> Reply {
    Reply::empty(StatusCode::ACCEPTED)
}

async fn start(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.start(call.actor()?, id).await?;
    Ok(accepted())
}

async fn stop(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.stop(call.actor()?, id).await?;
    Ok(accepted())
}

#[derive(Deserialize)]
struct Reboot {
    #[serde(rename = "type")]
    kind: String,
}

async fn reboot(call: Call, id: ServerId, value: Value) -> Outcome {
    let reboot: Reboot = wire::read(value)?;
    let hard = reboot.kind.eq_ignore_ascii_case("hard");
    call.state.services.servers.reboot(call.actor()?, id, hard).await?;
    Ok(accepted())
}

async fn lock(call: Call, id: ServerId, value: Value) -> Outcome {
    // Before 2.73 the value says nothing, whatever it is.
    let reason = if call.minor >= 73 { value.get("locked_reason").and_then(Value::as_str) } else { None };
    call.state.services.servers.lock(call.actor()?, id, reason.map(str::to_owned)).await?;
    Ok(accepted())
}

async fn unlock(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.unlock(call.actor()?, id).await?;
    Ok(accepted())
}

async fn force_delete(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.delete(call.actor()?, id, true).await?;
    Ok(accepted())
}

#[derive(Deserialize)]
struct ResetState {
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Error,
}

async fn reset_state(call: Call, id: ServerId, value: Value) -> Outcome {
    let reset: ResetState = wire::read(value)?;
    let to = match reset.state {
        State::Active => ResetTo::Active,
        State::Error => ResetTo::Error,
    };
    call.state.services.servers.reset_state(call.actor()?, id, to).await?;
    Ok(accepted())
}

async fn inject_network_info(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.inject_network_info(call.actor()?, id).await?;
    Ok(accepted())
}

/// As [`inject_network_info`] at `/v2`, which describes it; gone elsewhere.
async fn reset_network(mut call: Call, id: ServerId, value: Value) -> Outcome {
    if !call.legacy {
        return gone(call, id, value).await;
    }
    call.rule = Rule::Admin("os_compute_api:os-admin-actions:reset_network");
    authorize(&call, id).await?;
    inject_network_info(call, id, value).await
}

#[derive(Deserialize)]
struct ConsoleOutput {
    #[serde(default, deserialize_with = "wire::maybe_number")]
    length: Option<i64>,
}

#[derive(Serialize)]
struct Output {
    output: String,
}

async fn console_output(call: Call, id: ServerId, value: Value) -> Outcome {
    let wanted: ConsoleOutput = wire::read(value)?;
    // -1 asks for everything, as no number does.
    let lines = wanted.length.and_then(|length| usize::try_from(length).ok());
    let output = call.state.services.servers.console_output(call.actor()?, id, lines).await?;
    Ok(Reply::json(StatusCode::OK, &Output { output })?)
}

async fn gone(_call: Call, _id: ServerId, _value: Value) -> Outcome {
    let words = "This resource is no longer available.  No forwarding address is given.";
    Err(Error::new(Kind::Gone, words).into())
}
