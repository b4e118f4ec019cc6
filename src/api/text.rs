//! What texts may not hold: patterns that the schema and the operator share, in the syntax of RE2.

use std::sync::LazyLock;

use regex::Regex;

/// Matches a text that is not one line of visible characters with blanks (also the wide one of East Asian names) only between others:
/// a blank or a zero-width joiner at an end; another kind of blank or line end; format characters (zero width, text direction); control
/// and private characters, fillers that count as letters, and the empty Braille cell; and a joiner or non-joiner behind a letter of a
/// script that does not use it.
pub const NOT_PLAIN: &str = r"^[ \x{3000}]|[ \x{3000}\x{200C}\x{200D}]$|[^\P{Z} \x{3000}]|[^\P{Cf}\x{200C}\x{200D}]|[\p{Cc}\p{Co}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{2800}\x{3164}\x{FFA0}]|(^|[^\p{Arabic}\p{Bengali}\p{Devanagari}\p{Gujarati}\p{Gurmukhi}\p{Kannada}\p{Malayalam}\p{Oriya}\p{Sinhala}\p{Tamil}\p{Telugu}])[\x{200C}\x{200D}]";

/// Matches a natural key or id that is not plain: as [`NOT_PLAIN`], and besides any wide blank, joiner or selector of a variant of a
/// letter, because two keys that look the same must be the same.
pub const NOT_PLAIN_KEY: &str = r"^ | $|[^\P{Z} ]|[\p{Cc}\p{Cf}\p{Co}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{2800}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}]";

/// The message on a text that is not plain.
pub const ADVICE: &str = "begins or ends with a blank, or holds a character that nobody sees, for example a no-break space, a zero-width space or a line end: type the value again";

/// Whether a text is plain, see [`NOT_PLAIN`].
#[must_use]
pub fn is_plain(text: &str) -> bool {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(NOT_PLAIN).ok());
    PATTERN.as_ref().is_some_and(|pattern| !pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::empty("", true, true)]
    #[case::one_letter("a", true, true)]
    #[case::an_address("ada.lovelace+1@example.com", true, true)]
    #[case::a_blank_between("Fleet North", true, true)]
    #[case::accents_and_scripts("Åsa Øyvind Łukasz 山田 太郎 Ольга", true, true)]
    #[case::a_wide_blank_between("山田\u{3000}太郎", true, false)]
    #[case::persian_with_a_non_joiner("علی\u{200c}رضا", true, false)]
    #[case::an_emoji("Fleet ❤\u{fe0f}", true, false)]
    #[case::a_blank_at_the_end("ada ", false, false)]
    #[case::a_blank_at_the_beginning(" ada", false, false)]
    #[case::a_wide_blank_at_the_end("太郎\u{3000}", false, false)]
    #[case::a_no_break_space("Fleet\u{a0}North", false, false)]
    #[case::a_zero_width_space("ada@example.com\u{200b}", false, false)]
    #[case::a_byte_order_mark("\u{feff}ada", false, false)]
    #[case::a_non_joiner_between_latin_letters("a\u{200c}da", false, false)]
    #[case::a_non_joiner_at_the_end("علی\u{200c}", false, false)]
    #[case::a_soft_hyphen("Love\u{ad}lace", false, false)]
    #[case::a_text_direction("\u{202e}ada", false, false)]
    #[case::an_isolate("a\u{2066}da", false, false)]
    #[case::a_line_end("ada\n", false, false)]
    #[case::a_tab("a\tda", false, false)]
    #[case::a_null("a\0da", false, false)]
    #[case::a_next_line("a\u{85}da", false, false)]
    #[case::a_line_separator("a\u{2028}da", false, false)]
    #[case::a_hangul_filler("a\u{3164}da", false, false)]
    #[case::an_empty_braille_cell("\u{2800}", false, false)]
    #[case::a_tag("a\u{e0041}da", false, false)]
    fn texts_are_plain_if_everything_in_them_is_seen(
        #[case] text: &str,
        #[case] is_plain: bool,
        #[case] is_plain_key: bool,
    ) {
        assert_eq!(super::is_plain(text), is_plain);
        assert_eq!(!Regex::new(NOT_PLAIN_KEY).unwrap().is_match(text), is_plain_key);
    }
}
