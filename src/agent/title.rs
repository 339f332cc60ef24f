//! What is a thread called when nobody finds a title? By the first words of its first message.

use crate::protocol::UserMessage;

/// A title is at most so long, in characters.
const LONGEST: usize = 40;

/// The first words of a message, on one line. `None` when it has none.
#[must_use]
pub fn fallback_title(message: &UserMessage) -> Option<String> {
    let text = message.text();
    let mut title = String::new();
    for word in text.split_whitespace() {
        let length = title.chars().count() + word.chars().count();
        if !title.is_empty() && length >= LONGEST {
            break;
        }
        if !title.is_empty() {
            title.push(' ');
        }
        title.extend(word.chars().filter(|letter| !letter.is_control()).take(LONGEST));
    }
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{InferenceOptions, UserContent};

    fn title(text: &str) -> Option<String> {
        let content = vec![UserContent::InputText { text: text.to_owned() }];
        let inference_options = InferenceOptions::default();
        fallback_title(&UserMessage {
            content,
            attachments: Vec::new(),
            quoted_text: None,
            inference_options,
        })
    }

    #[test]
    fn the_first_words_are_the_title() {
        assert_eq!(title("  What is\n the weather? ").as_deref(), Some("What is the weather?"));
        let long = "one two three four five six seven eight nine ten eleven";
        assert_eq!(title(long).as_deref(), Some("one two three four five six seven eight"));
        assert_eq!(
            title(&"é".repeat(90)),
            Some("é".repeat(40)),
            "a word is cut between characters"
        );
        assert_eq!(title(" \n"), None);
    }
}
