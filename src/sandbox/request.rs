//! Is this a request for a session that OpenAI would take? Turns a body into a [`SessionRequest`],
//! with OpenAI's defaults filled in, or into the error that names the field.
//!
//! OpenAI takes no unknown fields, and no `null` where a field may be left out.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::error::ApiError;
use super::fields::{Fields, required, wrong_type};
use super::json::{self, Json};
use super::variables::StateVariables;

/// What was asked for. Nothing in it needs another check.
#[derive(Debug)]
pub(super) struct SessionRequest {
    pub(super) user: Box<str>,
    pub(super) workflow: Workflow,
    /// From the creation of the session to its end, in seconds.
    pub(super) lifetime: u64,
    pub(super) rate_limits: RateLimits,
    pub(super) configuration: Configuration,
}

/// The workflow as the session object shows it.
#[derive(Debug, Serialize)]
pub(super) struct Workflow {
    pub(super) id: Box<str>,
    version: Option<Box<str>>,
    state_variables: Option<StateVariables>,
    tracing: Switch,
}

/// How often the browser may ask during the session.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct RateLimits {
    pub(super) max_requests_per_1_minute: u64,
}

/// What the widget offers, as the session object shows it.
#[derive(Debug, Serialize)]
pub(super) struct Configuration {
    automatic_thread_titling: Switch,
    file_upload: FileUpload,
    history: History,
}

#[derive(Debug, Serialize)]
struct Switch {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct FileUpload {
    enabled: bool,
    /// In megabytes.
    max_file_size: u64,
    max_files: u64,
}

#[derive(Debug, Serialize)]
struct History {
    enabled: bool,
    /// No number means no limit.
    recent_threads: Option<u64>,
}

const ANY_COUNT: RangeInclusive<u64> = 1..=u64::MAX;

/// Reads the body of `POST /v1/chatkit/sessions`.
pub(super) fn parse(body: &[u8]) -> Result<SessionRequest, ApiError> {
    let entries = json::parse_object(body)?;
    let names = ["user", "workflow", "expires_after", "rate_limits", "chatkit_configuration"];
    let mut body = Fields::new("", entries, &names)?;
    let user = required(body.text("user")?, "user")?;
    let workflow = body.object("workflow", &["id", "version", "state_variables", "tracing"])?;
    let workflow = read_workflow(required(workflow, "workflow")?)?;
    let lifetime = match body.object("expires_after", &["anchor", "seconds"])? {
        Some(fields) => read_lifetime(fields)?,
        None => 600,
    };
    let mut limits = body.object_or_empty("rate_limits", &["max_requests_per_1_minute"])?;
    let limit = limits.integer("rate_limits.max_requests_per_1_minute", ANY_COUNT)?;
    let rate_limits = RateLimits { max_requests_per_1_minute: limit.unwrap_or(10) };
    let configuration = read_configuration(&mut body)?;
    Ok(SessionRequest { user, workflow, lifetime, rate_limits, configuration })
}

fn read_workflow(mut fields: Fields<'_>) -> Result<Workflow, ApiError> {
    let id = required(fields.text("workflow.id")?, "workflow.id")?;
    if !id.starts_with("wf_") {
        let message =
            format!("Invalid 'workflow.id': '{id}'. Expected an ID that begins with 'wf'.");
        return Err(ApiError::field("workflow.id", "invalid_value", message));
    }
    let version = fields.text("workflow.version")?;
    let state_variables = match fields.take("workflow.state_variables") {
        Some(Json::Object(entries)) => Some(StateVariables::read(entries)?),
        Some(other) => return Err(wrong_type("workflow.state_variables", "an object", &other)),
        None => None,
    };
    let tracing = read_switch(&mut fields, "workflow.tracing", "workflow.tracing.enabled")?;
    Ok(Workflow { id, version, state_variables, tracing })
}

fn read_lifetime(mut fields: Fields<'_>) -> Result<u64, ApiError> {
    let anchor = required(fields.text("expires_after.anchor")?, "expires_after.anchor")?;
    if &*anchor != "created_at" {
        let message = format!("Invalid value: '{anchor}'. Supported values are: 'created_at'.");
        return Err(ApiError::field("expires_after.anchor", "invalid_value", message));
    }
    required(fields.integer("expires_after.seconds", 1..=600)?, "expires_after.seconds")
}

fn read_configuration(body: &mut Fields<'_>) -> Result<Configuration, ApiError> {
    let names = ["automatic_thread_titling", "file_upload", "history"];
    let mut fields = body.object_or_empty("chatkit_configuration", &names)?;
    let automatic_thread_titling = read_switch(
        &mut fields,
        "chatkit_configuration.automatic_thread_titling",
        "chatkit_configuration.automatic_thread_titling.enabled",
    )?;
    let names = ["enabled", "max_file_size", "max_files"];
    let mut upload = fields.object_or_empty("chatkit_configuration.file_upload", &names)?;
    let file_upload = FileUpload {
        enabled: upload.boolean("chatkit_configuration.file_upload.enabled")?.unwrap_or(false),
        max_file_size: upload
            .integer("chatkit_configuration.file_upload.max_file_size", 1..=512)?
            .unwrap_or(512),
        max_files: upload
            .integer("chatkit_configuration.file_upload.max_files", ANY_COUNT)?
            .unwrap_or(10),
    };
    let names = ["enabled", "recent_threads"];
    let mut kept = fields.object_or_empty("chatkit_configuration.history", &names)?;
    let history = History {
        enabled: kept.boolean("chatkit_configuration.history.enabled")?.unwrap_or(true),
        recent_threads: kept.integer("chatkit_configuration.history.recent_threads", ANY_COUNT)?,
    };
    Ok(Configuration { automatic_thread_titling, file_upload, history })
}

/// An object whose one member is a boolean that is on unless it is switched off.
fn read_switch(
    fields: &mut Fields<'_>,
    object: &'static str,
    enabled: &'static str,
) -> Result<Switch, ApiError> {
    let mut switch = fields.object_or_empty(object, &["enabled"])?;
    Ok(Switch { enabled: switch.boolean(enabled)?.unwrap_or(true) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(body: &Value) -> (String, String, String) {
        let error = parse(body.to_string().as_bytes()).expect_err(&body.to_string());
        let error = serde_json::to_value(&error).unwrap();
        let text = |name: &str| error[name].as_str().unwrap_or("null").to_owned();
        (text("param"), text("code"), text("message"))
    }

    fn named(body: &Value) -> (String, String) {
        let (param, code, _) = refusal(body);
        (param, code)
    }

    /// The smallest valid body with one member replaced.
    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({ "user": "ada", "workflow": { "id": "wf_1" } });
        body[name] = value;
        body
    }

    #[test]
    fn a_fault_in_user_or_workflow_is_named_with_its_field() {
        for (name, value, param, code) in [
            ("user", json!(""), "user", "empty_string"),
            ("user", json!(7), "user", "invalid_type"),
            ("user", json!(null), "user", "invalid_type"),
            ("scope", json!({}), "scope", "unknown_parameter"),
            ("workflow", json!("wf_1"), "workflow", "invalid_type"),
            ("workflow", json!({}), "workflow.id", "missing_required_parameter"),
            ("workflow", json!({ "id": "asst_1" }), "workflow.id", "invalid_value"),
            (
                "workflow",
                json!({ "id": "wf_1", "version": null }),
                "workflow.version",
                "invalid_type",
            ),
            ("workflow", json!({ "id": "wf_1", "version": 3 }), "workflow.version", "invalid_type"),
            (
                "workflow",
                json!({ "id": "wf_1", "name": "x" }),
                "workflow.name",
                "unknown_parameter",
            ),
            (
                "workflow",
                json!({ "id": "wf_1", "tracing": true }),
                "workflow.tracing",
                "invalid_type",
            ),
            (
                "workflow",
                json!({ "id": "wf_1", "tracing": { "enabled": 1 } }),
                "workflow.tracing.enabled",
                "invalid_type",
            ),
        ] {
            let body = with(name, value);
            assert_eq!(named(&body), (param.to_owned(), code.to_owned()), "{body}");
        }
        let code = "missing_required_parameter".to_owned();
        assert_eq!(named(&json!({})), ("user".to_owned(), code.clone()));
        assert_eq!(named(&json!({ "user": "ada" })), ("workflow".to_owned(), code));
        assert_eq!(named(&json!([])), ("null".to_owned(), "invalid_type".to_owned()));
    }

    #[test]
    fn a_fault_in_the_settings_is_named_with_its_field() {
        let below = "integer_below_min_value";
        let above = "integer_above_max_value";
        let missing = "missing_required_parameter";
        for (param, value, code) in [
            ("expires_after", json!(600), "invalid_type"),
            ("expires_after.anchor", json!({ "seconds": 60 }), missing),
            (
                "expires_after.anchor",
                json!({ "anchor": "last_active_at", "seconds": 60 }),
                "invalid_value",
            ),
            ("expires_after.seconds", json!({ "anchor": "created_at" }), missing),
            ("expires_after.seconds", json!({ "anchor": "created_at", "seconds": 0 }), below),
            ("expires_after.seconds", json!({ "anchor": "created_at", "seconds": -5 }), below),
            ("expires_after.seconds", json!({ "anchor": "created_at", "seconds": 601 }), above),
            (
                "expires_after.seconds",
                json!({ "anchor": "created_at", "seconds": 60.0 }),
                "invalid_type",
            ),
            (
                "expires_after.seconds",
                json!({ "anchor": "created_at", "seconds": "60" }),
                "invalid_type",
            ),
            ("rate_limits", json!(null), "invalid_type"),
            (
                "rate_limits.max_requests_per_1_minute",
                json!({ "max_requests_per_1_minute": 0 }),
                below,
            ),
            (
                "rate_limits.max_requests_per_1_minute",
                json!({ "max_requests_per_1_minute": null }),
                "invalid_type",
            ),
            ("chatkit_configuration.theme", json!({ "theme": "dark" }), "unknown_parameter"),
            (
                "chatkit_configuration.automatic_thread_titling.enabled",
                json!({ "automatic_thread_titling": { "enabled": 1 } }),
                "invalid_type",
            ),
            (
                "chatkit_configuration.file_upload.max_file_size",
                json!({ "file_upload": { "max_file_size": 0 } }),
                below,
            ),
            (
                "chatkit_configuration.file_upload.max_file_size",
                json!({ "file_upload": { "max_file_size": 513 } }),
                above,
            ),
            (
                "chatkit_configuration.file_upload.max_files",
                json!({ "file_upload": { "max_files": 0 } }),
                below,
            ),
            (
                "chatkit_configuration.file_upload.types",
                json!({ "file_upload": { "types": [] } }),
                "unknown_parameter",
            ),
            (
                "chatkit_configuration.history.recent_threads",
                json!({ "history": { "recent_threads": 0 } }),
                below,
            ),
            (
                "chatkit_configuration.history.enabled",
                json!({ "history": { "enabled": null } }),
                "invalid_type",
            ),
        ] {
            let name = param.split('.').next().unwrap();
            let body = with(name, value);
            assert_eq!(named(&body), (param.to_owned(), code.to_owned()), "{body}");
        }
    }

    #[test]
    fn the_words_are_openais() {
        let expiry = with("expires_after", json!({ "anchor": "created_at", "seconds": 601 }));
        for (body, message) in [
            (json!({}), "Missing required parameter: 'user'."),
            (with("scope", json!(1)), "Unknown parameter: 'scope'."),
            (
                with("user", json!(7)),
                "Invalid type for 'user': expected a string, but got an integer instead.",
            ),
            (
                expiry,
                "Invalid 'expires_after.seconds': integer above maximum value. Expected a value <= \
                 600, but got 601 instead.",
            ),
            (
                with("workflow", json!({ "id": "asst_1" })),
                "Invalid 'workflow.id': 'asst_1'. Expected an ID that begins with 'wf'.",
            ),
        ] {
            assert_eq!(refusal(&body).2, message);
        }
    }

    #[test]
    fn what_is_not_json_is_refused_as_such() {
        for body in [&b""[..], b"{", b"{\"user\":\"ada\"} x", b"\xff", b"{\"user\":1e999}"] {
            assert_eq!(parse(body).expect_err("not JSON"), ApiError::unparsable());
        }
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        let body = br#"{"user":"a","user":"b","workflow":{"id":"wf_2","id":"wf_1"}}"#;
        let request = parse(body).unwrap();
        assert_eq!((&*request.user, &*request.workflow.id), ("b", "wf_1"));
    }

    #[test]
    fn escapes_in_names_and_values_are_read() {
        let body = br#"{"us\u0065r":"a\nb","workflow":{"id":"wf_\u0031"}}"#;
        let request = parse(body).unwrap();
        assert_eq!((&*request.user, &*request.workflow.id), ("a\nb", "wf_1"));
    }
}
