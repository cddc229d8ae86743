package relay

import (
	"os"
	"os/signal"
)

// Listen reports this process's signals until stop is called: those of names, by their
// names in the protocol. What our caller has us ignore stays ignored, as nohup and
// shells want for what they start in the background.
func Listen(names map[os.Signal]string) (signals <-chan string, stop func()) {
	raw := make(chan os.Signal, 16)
	for s := range names {
		if !signal.Ignored(s) {
			signal.Notify(raw, s)
		}
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
				case named <- names[s]:
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
