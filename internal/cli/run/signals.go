package run

import (
	"os"
	"os/signal"
	"syscall"
)

// signalNames are those that a run hands on, in the words of the protocol.
var signalNames = map[os.Signal]string{os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP"}

// listen reports signals by name until stop is called.
func listen() (signals chan string, stop func()) {
	raw := make(chan os.Signal, 4)
	signal.Notify(raw, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signals = make(chan string)
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
				case signals <- signalNames[s]:
				}
			}
		}
	}()
	return signals, func() {
		signal.Stop(raw)
		close(quit)
		<-done
	}
}
