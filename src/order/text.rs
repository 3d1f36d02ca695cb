//! Texts that people typed: what of them can be seen, and how their lines end.

/// Letters without a look of their own. Some of them change the look of their neighbours.
const INVISIBLE: &[(char, char)] = &[
    ('\u{AD}', '\u{AD}'),
    ('\u{34F}', '\u{34F}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{202A}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

/// White space, and letters that show as nothing.
pub fn is_unseen(letter: char) -> bool {
    letter.is_whitespace() || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&letter))
}

/// Whether nothing of it can be seen.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_unseen)
}

/// Without the white space around it, in all of Unicode's forms.
///
/// Joiners and variation selectors stay: an emoji may end with one.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|letter: char| {
        letter.is_whitespace() || matches!(letter, '\u{200B}' | '\u{2060}' | '\u{FEFF}' | '\u{3164}' | '\u{2800}')
    })
}

/// With one line feed at the end of each line: forms and some devices send carriage returns.
pub fn with_line_feeds(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_blank() {
        for blank in ["", " ", "\u{200B}", "\u{3164}", "\u{A0}\u{2003}\u{FEFF}", "\u{200D}\u{FE0F}", "\u{202E}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in ["Ada", "\u{200B}Ada", "ㅤ안", "❤️", "."] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }

    #[test]
    fn what_is_around_a_text_is_cut_off_and_what_belongs_to_it_is_not() {
        assert_eq!(trimmed("\u{3000}\u{200B} Ada Lovelace\u{A0}\u{FEFF}"), "Ada Lovelace");
        assert_eq!(trimmed("❤\u{FE0F}"), "❤\u{FE0F}");
        assert_eq!(trimmed(" \u{3164} "), "");
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        assert_eq!(with_line_feeds("a\r\nb\rc\nd\r\n\r\n".into()), "a\nb\nc\nd\n\n");
    }
}
