// Package reaching tests that machines are reached in networks that nothing
// outside can dial into: with the real program, real proxies, a real WireGuard peer,
// and network namespaces for the two networks. See docs/design/reaching.md.
package reaching
