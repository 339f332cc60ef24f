//! What is a request called, and which thread is it about? For whoever writes about it.

use super::{Plain, Request, Streaming};

impl Request {
    /// Its `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Streaming(request) => request.name(),
            Self::Plain(request) => request.name(),
        }
    }

    /// The thread that it names, if it names one.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        match self {
            Self::Streaming(request) => request.thread_id(),
            Self::Plain(request) => request.thread_id(),
        }
    }
}

impl Streaming {
    fn name(&self) -> &'static str {
        match self {
            Self::ThreadsCreate(_) => "threads.create",
            Self::ThreadsAddUserMessage(_) => "threads.add_user_message",
            Self::ThreadsAddClientToolOutput(_) => "threads.add_client_tool_output",
            Self::ThreadsAddStructuredInput(_) => "threads.add_structured_input",
            Self::ThreadsRetryAfterItem(_) => "threads.retry_after_item",
            Self::ThreadsCustomAction(_) => "threads.custom_action",
        }
    }
}

impl Plain {
    fn name(&self) -> &'static str {
        match self {
            Self::ThreadsGetById(_) => "threads.get_by_id",
            Self::ThreadsList(_) => "threads.list",
            Self::ThreadsUpdate(_) => "threads.update",
            Self::ThreadsDelete(_) => "threads.delete",
            Self::ThreadsSyncCustomAction(_) => "threads.sync_custom_action",
            Self::ItemsList(_) => "items.list",
            Self::ItemsFeedback(_) => "items.feedback",
            Self::AttachmentsCreate(_) => "attachments.create",
            Self::AttachmentsDelete(_) => "attachments.delete",
            Self::InputTranscribe(_) => "input.transcribe",
        }
    }

    fn thread_id(&self) -> Option<&str> {
        match self {
            Self::ThreadsGetById(params) | Self::ThreadsDelete(params) => Some(&params.thread_id),
            Self::ThreadsUpdate(params) => Some(&params.thread_id),
            Self::ThreadsSyncCustomAction(params) => Some(&params.thread_id),
            Self::ItemsList(params) => Some(&params.thread_id),
            Self::ItemsFeedback(params) => Some(&params.thread_id),
            Self::ThreadsList(_)
            | Self::AttachmentsCreate(_)
            | Self::AttachmentsDelete(_)
            | Self::InputTranscribe(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_name_by_which_it_came() {
        for (name, params) in [
            ("threads.create", r#"{"input":{"content":[]}}"#),
            ("threads.list", "{}"),
            ("threads.get_by_id", r#"{"thread_id":"thr_1"}"#),
            ("threads.delete", r#"{"thread_id":"thr_1"}"#),
            ("items.list", r#"{"thread_id":"thr_1"}"#),
            ("attachments.delete", r#"{"attachment_id":"atc_1"}"#),
        ] {
            let body = format!(r#"{{"type":"{name}","params":{params}}}"#);
            let request =
                Request::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(request.name(), name);
            assert_eq!(request.thread_id(), params.contains("thr_1").then_some("thr_1"), "{name}");
        }
    }
}
