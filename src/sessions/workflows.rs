//! Which workflow does a session run? Names and ids that a client may ask for, and nothing else.

use serde_json::Value;

use crate::config::agents::Agents;
use crate::config::hosted::HostedConfig;
use crate::error::{Error, Kind};

/// The name under which the default workflow of hosted mode is counted. No other workflow can have
/// it there.
const DEFAULT: &str = "default";

/// A workflow that sessions may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// The name that clients ask for and metrics count under.
    pub name: Box<str>,
    /// `wf_…`, never told to a client; the name once more where an agent is the workflow.
    pub id: Box<str>,
    /// The pinned version, if one is.
    pub version: Option<Box<str>>,
}

/// Every workflow that sessions may run.
#[derive(Debug, Clone)]
pub struct Workflows {
    default: Workflow,
    named: Vec<Workflow>,
}

impl Workflows {
    /// The workflows of a configuration.
    #[must_use]
    pub fn new(config: &HostedConfig) -> Self {
        let named = config.workflows.iter();
        Self {
            default: Workflow {
                name: DEFAULT.into(),
                id: config.workflow_id.as_str().into(),
                version: config.workflow_version.as_deref().map(Into::into),
            },
            named: named
                .map(|(name, id)| Workflow {
                    name: name.as_str().into(),
                    id: id.as_str().into(),
                    version: None,
                })
                .collect(),
        }
    }

    /// The agents, which are the workflows of self-hosted mode. Asking for one by an id that is its
    /// name is as good: that is what a page sends which asked for a workflow at OpenAI before.
    #[must_use]
    pub fn of_agents(agents: &Agents) -> Self {
        let of = |name: &str| Workflow { name: name.into(), id: name.into(), version: None };
        Self {
            default: of(&agents.default),
            named: agents.by_name.keys().map(|name| of(name)).collect(),
        }
    }

    /// Every workflow, the default one first.
    fn all(&self) -> impl Iterator<Item = &Workflow> {
        std::iter::once(&self.default).chain(&self.named)
    }

    /// The workflow that a body asks for by `workflow` (a name, or an object with an id) and
    /// `workflowId`; the default one if it asks for none. `null` is as good as absent.
    ///
    /// # Errors
    /// 400 for a field of the wrong type, or two that disagree; 403 for a workflow that is not
    /// configured.
    pub fn choose(
        &self,
        workflow: Option<&Value>,
        workflow_id: Option<&Value>,
    ) -> Result<&Workflow, Error> {
        let by_workflow = match workflow {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(Wish::Named(self.named(name)?)),
            Some(Value::Object(fields)) => match fields.get("id") {
                Some(Value::String(id)) => Some(Wish::Id(id)),
                _ => {
                    return Err(Error::invalid(
                        "`workflow.id` must be a string with the id of a workflow.",
                    ));
                }
            },
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
                return Err(Error::invalid(
                    "`workflow` must be the name of a workflow, as a string.",
                ));
            }
        };
        let by_id = match workflow_id {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(Wish::Id(id)),
            Some(_) => {
                return Err(Error::invalid(
                    "`workflowId` must be a string with the id of a workflow.",
                ));
            }
        };
        match (by_workflow, by_id) {
            (None, None) => Ok(&self.default),
            (Some(wish), None) | (None, Some(wish)) => self.grant(wish),
            (Some(wish), Some(other)) if wish.id() == other.id() => self.grant(wish),
            (Some(_), Some(_)) => Err(Error::invalid(
                "`workflow` and `workflowId` name different workflows: send one of the two.",
            )),
        }
    }

    fn grant<'a>(&'a self, wish: Wish<'a, '_>) -> Result<&'a Workflow, Error> {
        match wish {
            Wish::Named(workflow) => Ok(workflow),
            Wish::Id(id) => self.all().find(|known| *known.id == *id).ok_or_else(not_allowed),
        }
    }

    fn named(&self, name: &str) -> Result<&Workflow, Error> {
        self.named.iter().find(|known| *known.name == *name).ok_or_else(not_allowed)
    }
}

/// What a field asks for.
#[derive(Clone, Copy)]
enum Wish<'a, 'b> {
    Named(&'a Workflow),
    Id(&'b str),
}

impl Wish<'_, '_> {
    fn id(&self) -> &str {
        match self {
            Self::Named(workflow) => &workflow.id,
            Self::Id(id) => id,
        }
    }
}

fn not_allowed() -> Error {
    Error::new(
        Kind::WorkflowNotAllowed,
        "This server does not offer that workflow. Send a `workflow` name that it offers, or none \
         for the default one.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflows() -> Workflows {
        let named =
            |name: &str, id: &str| Workflow { name: name.into(), id: id.into(), version: None };
        Workflows {
            default: Workflow { version: Some("3".into()), ..named(DEFAULT, "wf_0") },
            named: vec![named("support", "wf_1"), named("sales", "wf_2"), named("again", "wf_0")],
        }
    }

    /// The name of the workflow that is chosen, or the code of the error.
    fn chosen(workflow: &Value, workflow_id: &Value) -> String {
        let workflows = workflows();
        match workflows.choose(Some(workflow), Some(workflow_id)) {
            Ok(workflow) => workflow.name.to_string(),
            Err(error) => error.kind().parts().2.to_owned(),
        }
    }

    #[test]
    fn an_agent_is_asked_for_by_its_name_in_any_field() {
        let named = |name: &str| Workflow { name: name.into(), id: name.into(), version: None };
        let agents =
            Workflows { default: named("support"), named: vec![named("sales"), named("support")] };
        for (workflow, workflow_id, expected) in [
            (json!(null), json!(null), Some("support")),
            (json!("support"), json!(null), Some("support")),
            (json!("sales"), json!(null), Some("sales")),
            (json!({"id": "sales"}), json!(null), Some("sales")),
            (json!(null), json!("support"), Some("support")),
            (json!("sales"), json!("sales"), Some("sales")),
            (json!("sales"), json!("support"), None),
            (json!({"id": "wf_1"}), json!(null), None),
            (json!("default"), json!(null), None),
        ] {
            let chosen = agents.choose(Some(&workflow), Some(&workflow_id)).ok();
            assert_eq!(chosen.map(|chosen| &*chosen.name), expected, "{workflow} {workflow_id}");
        }
    }

    #[test]
    fn a_client_gets_a_configured_workflow_or_an_error_that_says_why_not() {
        let null = Value::Null;
        for (workflow, workflow_id, expected) in [
            (json!(null), json!(null), "default"),
            (json!("support"), json!(null), "support"),
            (json!("again"), json!(null), "again"),
            (json!({"id": "wf_2"}), json!(null), "sales"),
            (json!({"id": "wf_0"}), json!(null), "default"),
            (json!({"id": "wf_2", "version": "1"}), json!(null), "sales"),
            (json!(null), json!("wf_1"), "support"),
            (json!("sales"), json!("wf_2"), "sales"),
            (json!({"id": "wf_2"}), json!("wf_2"), "sales"),
            (json!("sales"), json!("wf_1"), "invalid_request"),
            (json!({"id": "wf_2"}), json!("wf_1"), "invalid_request"),
            (json!("nobody"), json!(null), "workflow_not_allowed"),
            (json!("nobody"), json!("wf_1"), "workflow_not_allowed"),
            (json!("wf_1"), json!(null), "workflow_not_allowed"),
            (json!("default"), json!(null), "workflow_not_allowed"),
            (json!(""), json!(null), "workflow_not_allowed"),
            (json!({"id": "wf_9"}), json!(null), "workflow_not_allowed"),
            (json!(null), json!("wf_9"), "workflow_not_allowed"),
            (json!(7), json!(null), "invalid_request"),
            (json!(["support"]), json!(null), "invalid_request"),
            (json!(true), json!(null), "invalid_request"),
            (json!({}), json!(null), "invalid_request"),
            (json!({"id": 7}), json!(null), "invalid_request"),
            (json!(null), json!({"id": "wf_1"}), "invalid_request"),
        ] {
            assert_eq!(chosen(&workflow, &workflow_id), expected, "{workflow} {workflow_id}");
        }
        assert_eq!(workflows().choose(None, None).unwrap().version.as_deref(), Some("3"));
        assert_eq!(chosen(&null, &null), "default");
    }
}
