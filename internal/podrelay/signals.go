package podrelay

import (
	"os"
	"os/signal"
)

// Listen reports signals by name until stop is called.
func Listen() (signals <-chan string, stop func()) {
	raw := make(chan os.Signal, 16)
	for s := range signalNames {
		signal.Notify(raw, s)
	}
	named := make(chan string)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-raw:
				select {
				case <-quit:
					return
				case named <- signalNames[s]:
				}
			}
		}
	}()
	return named, func() {
		signal.Stop(raw)
		close(quit)
		<-done
	}
}
