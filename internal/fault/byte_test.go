package fault_test

import (
	"testing"

	"outrigger.dev/outrigger/internal/fault"
)

func TestACodeThatIsNotZeroStaysNotZero(t *testing.T) {
	for code, want := range map[int]int{
		0: 0, 1: 1, 255: 255, 256: 1, 512: 1, 300: 44, 0xC0000100: 1, 0xC0000005: 5, -1: 255, -256: 1, -1073741568: 1,
	} {
		if got := fault.Byte(code); got != want {
			t.Errorf("%d: %d, want %d", code, got, want)
		}
	}
}
