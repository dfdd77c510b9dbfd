//go:build !race

package zvhd2_test

const raceEnabled = false
