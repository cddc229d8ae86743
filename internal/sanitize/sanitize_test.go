package sanitize_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/sanitize"
)

func TestLineShowsWhatWouldNotBeSeen(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "build of größe 名前 👍 done", "build of größe 名前 👍 done"},
		{"a Windows path", `C:\new\x1b`, `C:\new\x1b`},
		{"the replacement character itself", "a\ufffdb", "a\ufffdb"},
		{"line breaks", "a\nb\r\nc\rd\ve\ff", `a\nb\r\nc\rd\x0be\x0cf`},
		{"a tab", "a\tb", `a\tb`},
		{"escape sequences", "\x1b[2J\x1b]52;c;cm0=\x07", `\x1b[2J\x1b]52;c;cm0=\x07`},
		{"NUL, DEL", "\x00\x7f", `\x00\x7f`},
		{"C1 as a rune", "\u009b2J\u0085", `\u009b2J\u0085`},
		{"C1 as a byte", "\x9b2J", `\x9b2J`},
		{"invalid UTF-8", "a\xff\xc3(b\xe2\x82", `a\xff\xc3(b\xe2\x82`},
		{"a surrogate half", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"bidi embeddings and overrides", "\u202a\u202b\u202c\u202d\u202e", `\u202a\u202b\u202c\u202d\u202e`},
		{"bidi isolates", "\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`},
		{"bidi marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"zero width", "\u200b\u200c\u200d\u2060\ufeff\u180e", `\u200b\u200c\u200d\u2060\ufeff\u180e`},
		{"soft hyphen, interlinear annotation", "\u00ad\ufff9", `\u00ad\ufff9`},
		{"line and paragraph separators", "\u2028\u2029", `\u2028\u2029`},
		{"fillers", "\u115f\u3164\uffa0\u034f\u2800", `\u115f\u3164\uffa0\u034f\u2800`},
		{"variation selectors and tags", "\ufe0f\U000e0100\U000e0041", `\ufe0f\U000e0100\U000e0041`},
		{"private and unassigned", "\ue000\U0010ffff\u0378", `\ue000\U0010ffff\u0378`},
		{"wide blanks are seen", "a\u00a0b\u3000c", "a\u00a0b\u3000c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sanitize.Line(tt.in, 1000); got != tt.want {
				t.Errorf("Line(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestTextKeepsLines(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a\n\tb\n", "a\n\tb\n"},
		{"a\r\nb\r\n", "a\nb\n"},
		{"10%\r20%\r\r\n", "10%\\r20%\\r\n"},
		{"a\u2028b\x1b[1mc", `a\u2028b\x1b[1mc`},
	} {
		if got := sanitize.Text(tt.in, 1000); got != tt.want {
			t.Errorf("Text(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestLengthIsBoundedInBytes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc…"},
		{"äöüß", 8, "äöüß"},
		{"äöüßx", 8, "äö…"}, // five bytes are left, and the third rune would need a sixth
		{"ab\x1bcdef", 8, `ab…`},
		{"ab\x1bcd", 8, `ab\x1bcd`},
		{"abc", 3, "abc"},
		{"abcd", 3, "…"},
		{"abcd", 2, ""},
		{"", 0, ""},
		{"a", 0, ""},
		{"a", -1, ""},
	} {
		if got := sanitize.Line(tt.in, tt.max); got != tt.want {
			t.Errorf("Line(%q, %d) = %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
	if got := sanitize.Text(strings.Repeat("line\n", 1<<20), 16); got != "line\nline\nlin…" {
		t.Errorf("a long text became %q", got)
	}
}

func TestWordsAreParted(t *testing.T) {
	if got, want := sanitize.Words(" a\r\n\tb\u00a0 c\x1b ", 100), `a b c\x1b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSONStaysTheSameValue(t *testing.T) {
	for _, s := range []string{"plain ü 👍 \\", "\x1b\x00\x7f\n\t", "\u009b\u202e\ufeff\u2028", "\U000e0041\U0010ffff"} {
		b, err := json.MarshalIndent(map[string]string{s: s}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		clean := sanitize.JSON(b)
		var back map[string]string
		if err := json.Unmarshal(clean, &back); err != nil || back[s] != s {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
		if got := sanitize.Text(string(clean), 1000); got != string(clean) {
			t.Errorf("%q has what does not print", clean)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "plain", "a\r\nb\tc", "\x1b[2J\u202e\xff", "äöü\u200b", "\U000e0100"} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		max %= 4096
		judge(t, "Line", s, max, sanitize.Line, "")
		judge(t, "Text", s, max, sanitize.Text, "\n\t")
	})
}

func judge(t *testing.T, name, s string, max int, clean func(string, int) string, keep string) {
	t.Helper()
	got := clean(s, max)
	if len(got) > 0 && len(got) > max {
		t.Errorf("%s(%q, %d) has %d bytes", name, s, max, len(got))
	}
	if !utf8.ValidString(got) {
		t.Errorf("%s(%q, %d) = %q, which is not UTF-8", name, s, max, got)
	}
	for _, r := range got {
		if !strings.ContainsRune(keep, r) && !unicode.IsGraphic(r) {
			t.Errorf("%s(%q, %d) = %q has %U", name, s, max, got, r)
		}
	}
	if again := clean(got, max); again != got {
		t.Errorf("%s(%q, %d) = %q, and once more %q", name, s, max, got, again)
	}
}
