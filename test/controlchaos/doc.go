// Package controlchaos kills, pauses and replaces controllers under load, with a
// provider that fails, and looks for what must not be: a machine that is leaked, leased
// twice, or taken away, and a claim that is not served.
//
//	go test ./test/controlchaos              # 15 kills
//	go test ./test/controlchaos -kills 100
package controlchaos
