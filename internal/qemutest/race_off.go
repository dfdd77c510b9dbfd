//go:build !race

package qemutest

const raceDetector = false
