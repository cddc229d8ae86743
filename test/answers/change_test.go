//go:build linux

package answers

import (
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// words are what a terminal, a file system, a shell or a reader of lists takes for something else.
var words = []string{
	"\x1b]0;evil\x07", "\x1b[2J\x1b[31m", "a\r\nb\rc", strings.Repeat("x", 1<<16), strings.Repeat("long\n", 5000), "\u202egnp.exe", "\x00", "",
	"../../../../.ssh/authorized_keys", "/etc/passwd", "-rf", "\xff\xfe", "; rm -rf ~", "$(touch ~/owned)", "box", "BOX", strings.Repeat("../", 100),
	"Protocol", "Internal", "NoCapacity", "Busy", "Unreachable", "UnknownLease", "darwin", "windows", "\u009b31m", "\u200b", "~", "\U000e0041",
}

var numbers = []any{int64(-1), int64(0), int64(1), int64(-1 << 63), int64(1<<63 - 1), uint64(1<<64 - 1), int64(1 << 32), int64(253402300800), int64(-62135596801), 1e300}

// text changes a line that comes before the frames, or not.
func (h *hostile) text(line []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rnd.Float64() >= h.chance/4 {
		return line
	}
	at := h.rnd.IntN(len(line) + 1)
	return slices.Concat(line[:at], []byte(words[h.rnd.IntN(len(words))]), line[at:])
}

// change returns what is sent in place of a frame.
func (h *hostile) change(f frame) []frame {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rnd.Float64() >= h.chance {
		return []frame{f}
	}
	var v any
	if err := cbor.Unmarshal(f.payload, &v); err == nil && h.rnd.IntN(8) > 0 {
		for range 1 + h.rnd.IntN(3) {
			v = h.value(v)
		}
		if b, err := cbor.Marshal(v); err == nil && len(b) < 1<<20 {
			return []frame{{f.kind, b}}
		}
	}
	switch h.rnd.IntN(5) {
	case 0:
		return []frame{f, f}
	case 1:
		return []frame{{byte(h.rnd.IntN(130)), f.payload}}
	case 2:
		return []frame{{f.kind, []byte(words[h.rnd.IntN(len(words))])}}
	case 3:
		return []frame{{f.kind, f.payload[:h.rnd.IntN(len(f.payload)+1)]}}
	}
	b := slices.Clone(f.payload)
	for range min(len(b), 1+h.rnd.IntN(4)) {
		b[h.rnd.IntN(len(b))] ^= byte(1 + h.rnd.IntN(255))
	}
	return []frame{{f.kind, b}}
}

// value changes one thing in a value.
func (h *hostile) value(v any) any {
	word := words[h.rnd.IntN(len(words))]
	switch v := v.(type) {
	case map[any]any:
		return h.inMap(v)
	case []any:
		return h.inList(v)
	case string:
		if h.rnd.IntN(2) == 0 {
			return v + word
		}
		return word
	case []byte:
		var inside any // a body is in a response as bytes
		if err := cbor.Unmarshal(v, &inside); err == nil && h.rnd.IntN(8) > 0 {
			if b, err := cbor.Marshal(h.value(inside)); err == nil {
				return b
			}
		}
		return []byte(word)
	case bool:
		return !v
	case nil:
		return word
	default:
		if h.rnd.IntN(10) == 0 {
			return word
		}
		return numbers[h.rnd.IntN(len(numbers))]
	}
}

func (h *hostile) inMap(v map[any]any) any {
	v = maps.Clone(v)
	var keys []any
	for k := range v {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b any) int { return order(a) - order(b) }) // a seed has the same outcome each time
	switch n := h.rnd.IntN(12); {
	case len(keys) == 0 || n == 0: // a field that was left out, since it was empty
		v[uint64(1+h.rnd.IntN(10))] = words[h.rnd.IntN(len(words))]
	case n == 1:
		delete(v, keys[h.rnd.IntN(len(keys))])
	case n == 2:
		v[uint64(1+h.rnd.IntN(10))] = []any{words[h.rnd.IntN(len(words))], map[any]any{uint64(1): words[h.rnd.IntN(len(words))]}}
	default:
		k := keys[h.rnd.IntN(len(keys))]
		v[k] = h.value(v[k])
	}
	return v
}

// order sorts the keys of messages, which are small numbers.
func order(k any) int {
	n, _ := k.(uint64) // others come first
	return int(n)
}

func (h *hostile) inList(v []any) any {
	if len(v) == 0 {
		return []any{map[any]any{uint64(1): words[h.rnd.IntN(len(words))]}}
	}
	i := h.rnd.IntN(len(v))
	switch h.rnd.IntN(6) {
	case 0:
		return slices.Repeat(v[i:i+1], 1+h.rnd.IntN(5000))
	case 1:
		return append(slices.Clone(v), v[i])
	}
	v = slices.Clone(v)
	v[i] = h.value(v[i])
	return v
}
