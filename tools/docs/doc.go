// Package docs holds the documentation to what it says: links lead somewhere,
// every kind of fault has its section, every dependency its line.
package docs
