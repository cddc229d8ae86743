// Package sanitize makes text from elsewhere fit to be read: what a machine, a
// provider, a hub, a cluster or a file's name says goes through it before it
// comes to a terminal, an event, a condition or a log.
//
// What would move a cursor, reorder the text, hide a part of it or end the line
// is not dropped, but shown as a Go string literal would have it: "\x1b[2J",
// "\u202e". So a reader sees that somebody tried, and two names that differ look
// different. A backslash stays as it is: Windows' paths stay readable, and text
// that was cleaned before does not change again.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ellipsis ends what was longer than allowed.
const ellipsis = "…"

// Line returns s as one printable line of at most max bytes.
func Line(s string, max int) string { return clean(s, max, "") }

// Text is [Line] for several lines: \n and \t stay, \r\n becomes \n.
func Text(s string, max int) string {
	return clean(s, max, "\n\t")
}

// Words is [Line] for text whose blanks and line ends do not matter: each run of
// them becomes one blank.
func Words(s string, max int) string { return Line(strings.Join(strings.Fields(s), " "), max) }

// JSON escapes in JSON what [Line] would: no value becomes another one, and a
// terminal that shows it is left alone.
func JSON(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r < ' ' || visible(r): // encoding/json leaves control characters between values only
			out = append(out, b[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[size:]
	}
	return out
}

// clean does no more work than max asks for, however long s is.
func clean(s string, max int, keep string) string {
	if clean, whole := prefix(s, max, keep); whole {
		return clean
	}
	if max < len(ellipsis) {
		return ""
	}
	begin, _ := prefix(s, max-len(ellipsis), keep)
	return begin + ellipsis
}

// prefix returns the cleaned form of as much of s as fits into max bytes, and
// whether that is all. A rune and its escape are never cut.
func prefix(s string, max int, keep string) (clean string, whole bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		shown := s[i : i+size]
		switch {
		case strings.ContainsRune(keep, r) && r != utf8.RuneError:
		case r == '\r' && keep != "" && strings.HasPrefix(s[i:], "\r\n"):
			shown = ""
		case r == utf8.RuneError && size == 1:
			shown = fmt.Sprintf(`\x%02x`, s[i])
		case !visible(r):
			shown = escape(r)
		}
		if b.Len()+len(shown) > max {
			return b.String(), false
		}
		b.WriteString(shown)
		i += size
	}
	return b.String(), true
}

// visible tells whether r is seen where it stands and changes nothing beside it.
// Controls, format characters such as the bidirectional ones, line separators,
// private and unassigned characters are not graphic; the ignorable ones are
// graphic for Unicode and invisible on every screen.
func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != brailleBlank
}

// brailleBlank is a symbol without a dot.
const brailleBlank = '\u2800'

func escape(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
