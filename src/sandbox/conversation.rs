//! What was the model asked? The conversation as the script needs it, whichever of the two APIs it
//! came by.

use std::collections::HashMap;

use data_encoding::BASE64;

use super::error::ApiError;
use super::json::Json;
use super::node::Node;

/// What came before the last user message, the message itself, and what came after it.
#[derive(Debug, Default)]
pub(super) struct Conversation<'j> {
    /// The text of the last user message, by its parts.
    pub(super) said: Vec<&'j str>,
    pub(super) attached: Vec<Attachment<'j>>,
    /// The messages of user and assistant before it.
    pub(super) earlier: usize,
    /// The first text that the user sent.
    pub(super) opening: Option<&'j str>,
    /// What the user refers to.
    pub(super) quotes: Vec<&'j str>,
    /// What else was given along with the message: tags, and context that the user does not see.
    pub(super) context: Vec<&'j str>,
    /// The tools that were called since, and what they answered.
    pub(super) outputs: Vec<(&'j str, String)>,
    /// The instructions ask for a title, not for an answer.
    pub(super) wants_title: bool,
    /// The function tools that may be called.
    pub(super) tools: Vec<Tool<'j>>,
    pub(super) choice: Choice<'j>,
    pub(super) format: Format<'j>,
    /// All text that was read, in bytes.
    pub(super) bytes: usize,
    messages: usize,
    calls: HashMap<&'j str, Call<'j>>,
}

/// A function that the model may call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool<'j> {
    pub(super) name: &'j str,
    /// Its JSON schema.
    pub(super) parameters: Option<&'j Json<'j>>,
}

/// Whether a function is to be called.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice<'j> {
    #[default]
    Auto,
    Never,
    Required,
    /// This one.
    Named(&'j str),
}

/// What the answer is to be.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Format<'j> {
    #[default]
    Text,
    /// JSON: any object, or what fits a schema.
    Json(Option<&'j Json<'j>>),
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
}

/// A piece of a message.
#[derive(Debug)]
pub(super) enum Part<'j> {
    Text(&'j str),
    Attached(Attachment<'j>),
}

/// An image or a file that came with a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attachment<'j> {
    pub(super) image: bool,
    pub(super) name: Option<&'j str>,
    pub(super) source: Source<'j>,
}

/// Where the bytes of an attachment are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'j> {
    /// Here: so many bytes of this type.
    Inline { mime: &'j str, bytes: usize },
    /// Behind an address, or at OpenAI under an id.
    Elsewhere(&'j str),
}

#[derive(Debug)]
struct Call<'j> {
    name: &'j str,
    answered: bool,
    /// Its place among the calls.
    at: usize,
}

/// What ChatKit servers put before a message that the user did not write: a quote, tags, and other
/// context.
const QUOTE: &str = "The user is referring to this in particular:";
const TAGS: &str = "# User-provided context for @-mentions";
const HIDDEN: &str = "Hidden context for the agent";
const SHOWN: [&str; 2] =
    ["The following graphical UI widget", "A message was displayed to the user that"];

impl<'j> Conversation<'j> {
    /// Takes in a message.
    pub(super) fn hear(&mut self, role: Role, parts: Vec<Part<'j>>) {
        let mut said = Vec::new();
        let mut attached = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => said.push(text),
                Part::Attached(attachment) => attached.push(attachment),
            }
        }
        self.bytes += said.iter().map(|text| text.len()).sum::<usize>();
        match role {
            Role::System | Role::User if self.is_context(&said) => {}
            Role::System => said.iter().for_each(|text| self.instruct(text)),
            Role::Assistant => self.messages += 1,
            Role::User => {
                self.earlier = self.messages;
                self.messages += 1;
                self.opening = self.opening.or(said.first().copied());
                (self.said, self.attached) = (said, attached);
                self.quotes.clear();
                self.context.clear();
                self.outputs.clear();
            }
        }
    }

    /// Takes in instructions.
    pub(super) fn instruct(&mut self, text: &str) {
        self.bytes += text.len();
        self.wants_title |= asks_for_title(text);
    }

    /// Takes in the call of a function.
    pub(super) fn call(&mut self, id: &'j str, name: &'j str, arguments: &str) {
        self.bytes += arguments.len();
        let at = self.calls.len();
        self.calls.insert(id, Call { name, answered: false, at });
    }

    /// Takes in what a function answered. False without a call that waits for it.
    pub(super) fn answer(&mut self, id: &str, output: String) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return false };
        call.answered = true;
        self.bytes += output.len();
        self.outputs.push((call.name, output));
        true
    }

    /// The first call that nothing answered.
    pub(super) fn unanswered(&self) -> Option<&'j str> {
        let open = self.calls.iter().filter(|(_, call)| !call.answered);
        open.min_by_key(|(_, call)| call.at).map(|(id, _)| *id)
    }

    /// How many tokens OpenAI might count for all this.
    pub(super) fn tokens(&self) -> usize {
        self.bytes / 4 + 1
    }

    /// Puts a message aside that the user did not write.
    fn is_context(&mut self, said: &[&'j str]) -> bool {
        let Some(&first) = said.first() else { return false };
        if let Some(quote) = first.strip_prefix(QUOTE) {
            self.quotes.push(quote.trim());
        } else if first.starts_with(TAGS) {
            let below = first.splitn(4, '\n').nth(3);
            self.context.extend(below.into_iter().chain(said[1..].iter().copied()).map(str::trim));
        } else if first.starts_with(HIDDEN) {
            let inner = first.split_once("<HiddenContext>").map_or(first, |(_, inner)| inner);
            self.context.push(inner.split("</HiddenContext>").next().unwrap_or(inner).trim());
        } else {
            return SHOWN.iter().any(|shown| first.starts_with(shown));
        }
        true
    }
}

/// Whether a sentence tells the model to make a title.
fn asks_for_title(text: &str) -> bool {
    const VERBS: [&str; 11] = [
        "answer", "create", "find", "generate", "give", "make", "name", "reply", "respond",
        "suggest", "write",
    ];
    text.split(['.', '!', '?', '\n']).any(|sentence| {
        let words = || sentence.split(|letter: char| !letter.is_alphanumeric());
        let has = |wanted: &str| words().any(|word| word.eq_ignore_ascii_case(wanted));
        has("title") && VERBS.iter().any(|verb| has(verb))
    })
}

impl<'j> Source<'j> {
    /// Reads the URL of an image, whose bytes may stand in it.
    pub(super) fn of_image(node: &Node<'_, 'j>) -> Result<Self, ApiError> {
        let url = node.filled()?;
        if url.starts_with("https://") || url.starts_with("http://") {
            return Ok(Self::Elsewhere(url));
        }
        Self::of_data(node, true)
    }

    /// Reads `data:<type>;base64,<bytes>`.
    pub(super) fn of_data(node: &Node<'_, 'j>, image: bool) -> Result<Self, ApiError> {
        let url = node.filled()?;
        let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        let Some((mime, data)) = data else {
            return Err(node.invalid(
                "invalid_value",
                "Expected a valid URL, but got a value with an invalid format.",
            ));
        };
        if image
            && !matches!(
                mime,
                "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/webp"
            )
        {
            let what = format!(
                "Expected a base64-encoded data URL with an image MIME type (e.g. \
                 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got unsupported MIME type \
                 '{mime}'."
            );
            return Err(node.invalid("invalid_value", &what));
        }
        match BASE64.decode(data.as_bytes()) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self::Inline { mime, bytes: bytes.len() }),
            _ => Err(node.invalid(
                "invalid_base64",
                "Expected a base64-encoded data URL, but got an invalid base64 value.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_not_what_the_user_said() {
        let mut conversation = Conversation::default();
        let mut hear = |role, text| conversation.hear(role, vec![Part::Text(text)]);
        hear(Role::User, "first");
        hear(Role::Assistant, "answer");
        hear(Role::User, "second");
        hear(Role::User, "The user is referring to this in particular: \na quote");
        hear(Role::User, "# User-provided context for @-mentions\n- a\n- b\nAda is a person");
        hear(
            Role::System,
            "Hidden context for the agent (not shown to the \
             user):\n<HiddenContext>\nhush\n</HiddenContext>",
        );
        hear(Role::User, "The following graphical UI widget (id: 1) was displayed to the user:{}");
        assert_eq!((conversation.said, conversation.earlier), (vec!["second"], 2));
        assert_eq!(conversation.opening, Some("first"));
        assert_eq!(conversation.quotes, ["a quote"]);
        assert_eq!(conversation.context, ["Ada is a person", "hush"]);
    }

    #[test]
    fn a_title_is_wanted_when_a_sentence_asks_for_one() {
        for (text, wanted) in [
            ("Write a short title for this conversation.", true),
            ("Be brief.\nReply with the title only", true),
            ("You know every job title. Give good answers.", false),
            ("Answer the user.", false),
        ] {
            assert_eq!(asks_for_title(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_first_call_without_an_answer_is_named() {
        let mut conversation = Conversation::default();
        conversation.call("call_2", "b", "{}");
        conversation.call("call_1", "a", "{}");
        assert_eq!(conversation.unanswered(), Some("call_2"));
        assert!(conversation.answer("call_2", "done".to_owned()));
        assert_eq!(conversation.unanswered(), Some("call_1"));
        assert!(!conversation.answer("call_3", String::new()), "nobody called it");
        assert_eq!(conversation.outputs, [("b", "done".to_owned())]);
    }
}
