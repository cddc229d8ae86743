package podrelay

import "outrigger.dev/outrigger/internal/relay"

// Listen reports signals by name until stop is called.
func Listen() (signals <-chan string, stop func()) { return relay.Listen(signalNames) }
