//go:build !unix

// Command pause has nothing to do where there are no containers.
package main

func main() {}
