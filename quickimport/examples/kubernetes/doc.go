// Package kubernetes holds a manifest that runs many imports at once, and a
// test of the script in it. See README.md.
package kubernetes
