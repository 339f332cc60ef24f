//! What is asked of OpenAI? Which workflows there are, and what a hosted session may do.

use super::env::{Secret, Vars};
use super::features::{FileUpload, History, at_least_one, file_upload, history, thread_titles};

/// OpenAI takes at most 64 state variables, with names of at most 64 characters.
const MAX_STATE_VARIABLES: usize = 64;
const MAX_NAME_CHARS: usize = 64;

/// What is asked of OpenAI for a session.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct HostedConfig {
    /// `CHATKIT_WORKFLOW_ID`: the workflow of a session that names none.
    pub workflow_id: String,
    /// `CHATKIT_WORKFLOW_VERSION`: pins the default workflow; without it OpenAI takes the latest
    /// deployed one.
    pub workflow_version: Option<String>,
    /// `CHATKIT_WORKFLOWS`: further workflows, as (name, id).
    pub workflows: Vec<(String, String)>,
    /// `CHATKIT_SESSION_REQUESTS_PER_MINUTE`; unset leaves it to OpenAI (10).
    pub requests_per_minute: Option<u32>,
    /// `CHATKIT_FILE_UPLOAD`; unset leaves it to OpenAI (off).
    pub file_upload: Option<FileUpload>,
    /// `CHATKIT_HISTORY`; unset leaves it to OpenAI (on).
    pub history: Option<History>,
    /// `CHATKIT_THREAD_TITLES`; unset leaves it to OpenAI (on).
    pub thread_titles: Option<bool>,
    /// `CHATKIT_STATE_CLAIMS`: which claims of a user's token become state variables.
    pub state_claims: Vec<StateClaim>,
    /// `CHATKIT_USER_ID_KEY`: when set, OpenAI sees HMAC-SHA256(key, user) in place of the user's
    /// id.
    pub user_id_key: Option<Secret>,
}

/// One claim of a user's token that the workflow gets as a state variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateClaim {
    /// The variable's name in the workflow.
    pub variable: String,
    /// The claim's name, at the top level of the token.
    pub claim: String,
}

impl HostedConfig {
    pub(super) fn from_vars(vars: &Vars<'_>) -> Self {
        Self {
            workflow_id: default_workflow(vars),
            workflow_version: workflow_version(vars),
            workflows: named_workflows(vars),
            requests_per_minute: vars.optional(
                "CHATKIT_SESSION_REQUESTS_PER_MINUTE",
                "a whole number of 1 or more",
                at_least_one,
            ),
            file_upload: file_upload(vars),
            history: history(vars),
            thread_titles: thread_titles(vars),
            state_claims: state_claims(vars),
            user_id_key: vars.key("CHATKIT_USER_ID_KEY"),
        }
    }
}

fn default_workflow(vars: &Vars<'_>) -> String {
    const NAME: &str = "CHATKIT_WORKFLOW_ID";
    const ALIAS: &str = "WORKFLOW_ID";
    let read = |name| vars.text(name).map(|text| (name, text.trim().to_owned()));
    let (name, id) = match (read(NAME), read(ALIAS)) {
        (Some((_, id)), Some((_, alias))) if id != alias => {
            vars.problem(NAME, format!("contradicts its alias {ALIAS}: set one of the two"));
            return id;
        }
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) if vars.is_blamed(NAME) || vars.is_blamed(ALIAS) => return String::new(),
        (None, None) => {
            vars.problem(NAME, "is required: the id of the workflow, `wf_…`");
            return String::new();
        }
    };
    if !is_workflow_id(&id) {
        vars.problem(name, "must be a workflow id: `wf_` and then letters, digits, `_` or `-`");
    }
    id
}

fn workflow_version(vars: &Vars<'_>) -> Option<String> {
    const NAME: &str = "CHATKIT_WORKFLOW_VERSION";
    let version = vars.text(NAME)?.trim().to_owned();
    if version.eq_ignore_ascii_case("latest") {
        vars.problem(
            NAME,
            "must be the number of a version; leave it unset for the latest one \
             (OpenAI accepts `latest` for the session, and then the chat fails in the browser)",
        );
    } else if version.is_empty() || version.chars().any(char::is_control) {
        vars.problem(NAME, "must be the number of a version, or unset for the latest one");
    }
    Some(version)
}

fn named_workflows(vars: &Vars<'_>) -> Vec<(String, String)> {
    const NAME: &str = "CHATKIT_WORKFLOWS";
    let mut workflows: Vec<(String, String)> = Vec::new();
    for (index, entry) in vars.list(NAME).iter().enumerate() {
        let entry = entry.split_once('=').map(|(name, id)| (name.trim(), id.trim()));
        match entry {
            Some((name, id)) if is_name(name) && is_workflow_id(id) => {
                if name == "default" {
                    vars.problem(
                        NAME,
                        "must not name a workflow `default`: that is CHATKIT_WORKFLOW_ID",
                    );
                } else if workflows.iter().any(|(known, _)| known == name) {
                    vars.problem(
                        NAME,
                        format!("must give each name once; `{name}` is there twice"),
                    );
                } else {
                    workflows.push((name.to_owned(), id.to_owned()));
                }
            }
            _ => {
                let place = index + 1;
                vars.problem(
                    NAME,
                    format!("must be like `support=wf_1,sales=wf_2`; entry {place} is not"),
                );
            }
        }
    }
    workflows
}

fn state_claims(vars: &Vars<'_>) -> Vec<StateClaim> {
    const NAME: &str = "CHATKIT_STATE_CLAIMS";
    let mut claims: Vec<StateClaim> = Vec::new();
    for (index, entry) in vars.list(NAME).iter().enumerate() {
        let (variable, claim) = entry.split_once('=').unwrap_or((entry, entry));
        let (variable, claim) = (variable.trim(), claim.trim());
        if !is_name(variable) || claim.is_empty() {
            let place = index + 1;
            let shape = "must be like `plan,tenant_id=org` (variable=claim, names of at most 64 \
                         characters)";
            vars.problem(NAME, format!("{shape}; entry {place} is not"));
        } else if claims.iter().any(|known| known.variable == variable) {
            vars.problem(
                NAME,
                format!("must give each variable once; `{variable}` is there twice"),
            );
        } else {
            claims.push(StateClaim { variable: variable.to_owned(), claim: claim.to_owned() });
        }
    }
    if claims.len() > MAX_STATE_VARIABLES {
        vars.problem(NAME, format!("must name at most {MAX_STATE_VARIABLES} claims"));
    }
    claims
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= MAX_NAME_CHARS
        && !text.chars().any(char::is_control)
}

fn is_workflow_id(text: &str) -> bool {
    text.strip_prefix("wf_").is_some_and(|rest| {
        !rest.is_empty()
            && rest.len() <= 252
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> (HostedConfig, Vec<String>) {
        let lookup = |name: &str| {
            let default = ("CHATKIT_WORKFLOW_ID", "wf_1");
            let found = set.iter().chain([&default]).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let vars = Vars::new(&lookup);
        let config = HostedConfig::from_vars(&vars);
        (config, vars.into_problems().iter().map(ToString::to_string).collect())
    }

    fn one_problem(name: &str, value: &str) -> String {
        let (_, problems) = read(&[(name, value)]);
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
        assert!(problems[0].starts_with(name), "{problems:?}");
        problems[0].clone()
    }

    #[test]
    fn a_workflow_is_enough() {
        let (config, problems) = read(&[]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.workflow_id, "wf_1");
        assert_eq!(config.workflow_version, None);
        assert!(config.workflows.is_empty() && config.state_claims.is_empty());
        assert_eq!((config.file_upload, config.history, config.thread_titles), (None, None, None));
    }

    #[test]
    fn the_alias_of_the_workflow_id_counts_and_must_not_contradict() {
        let (config, problems) = read(&[("CHATKIT_WORKFLOW_ID", ""), ("WORKFLOW_ID", "wf_2")]);
        assert_eq!((config.workflow_id.as_str(), problems.len()), ("wf_2", 0));
        assert!(
            read(&[("WORKFLOW_ID", "wf_1")]).1.is_empty(),
            "the same twice is no contradiction"
        );
        assert_eq!(read(&[("WORKFLOW_ID", "wf_2")]).1.len(), 1, "two that differ");
        assert!(one_problem("CHATKIT_WORKFLOW_ID", "").contains("required"));
        for bad in ["asst_1", "wf_", "wf_a b", "wf_ü"] {
            one_problem("CHATKIT_WORKFLOW_ID", bad);
        }
    }

    #[test]
    fn further_workflows_have_names_and_ids() {
        let (config, _) = read(&[("CHATKIT_WORKFLOWS", " support = wf_1 , sales=wf_2,")]);
        let expected = [("support", "wf_1"), ("sales", "wf_2")];
        assert_eq!(config.workflows, expected.map(|(name, id)| (name.to_owned(), id.to_owned())));
        for bad in ["support", "support=", "=wf_1", "a=wf_1,a=wf_2", "default=wf_3", "a=b"] {
            one_problem("CHATKIT_WORKFLOWS", bad);
        }
    }

    #[test]
    fn the_version_latest_is_refused_with_its_reason() {
        assert!(one_problem("CHATKIT_WORKFLOW_VERSION", "latest").contains("fails in the browser"));
        assert_eq!(
            read(&[("CHATKIT_WORKFLOW_VERSION", "3")]).0.workflow_version.as_deref(),
            Some("3")
        );
    }

    #[test]
    fn a_claim_may_have_another_name_as_a_variable() {
        let (config, _) =
            read(&[("CHATKIT_STATE_CLAIMS", "plan, tenant_id=org, url=https://a.example/b=c")]);
        let pairs: Vec<_> =
            config.state_claims.iter().map(|c| (c.variable.as_str(), c.claim.as_str())).collect();
        assert_eq!(
            pairs,
            [("plan", "plan"), ("tenant_id", "org"), ("url", "https://a.example/b=c")]
        );
        let long = "a".repeat(65);
        for bad in ["=org", "tenant=", "a,a=b", long.as_str()] {
            one_problem("CHATKIT_STATE_CLAIMS", bad);
        }
        let many = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
        assert!(read(&[("CHATKIT_STATE_CLAIMS", &many(64))]).1.is_empty());
        one_problem("CHATKIT_STATE_CLAIMS", &many(65));
    }

    #[test]
    fn numbers_have_bounds_and_every_problem_is_told_at_once() {
        one_problem("CHATKIT_SESSION_REQUESTS_PER_MINUTE", "0");
        one_problem("CHATKIT_THREAD_TITLES", "maybe");
        one_problem("CHATKIT_USER_ID_KEY", "too short");
        let (_, problems) = read(&[
            ("CHATKIT_WORKFLOW_ID", "x"),
            ("CHATKIT_THREAD_TITLES", "?"),
            ("CHATKIT_HISTORY", "?"),
        ]);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
