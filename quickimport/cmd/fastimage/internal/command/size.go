package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/uploader"
)

var units = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}

// size prints n as 40GiB: the largest unit that leaves at least 1, with one
// decimal where the value is not whole.
func size(n int64) string {
	v, u := float64(n), 0
	// 1023.95 would print as 1024.0, so the step up comes before it.
	for v >= 1023.95 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + units[u]
}

// unitsHelp is the rule for sizes, in the help of the root.
const unitsHelp = `Sizes are a number and a unit: B, KiB, MiB, GiB or TiB (K, KB and so on mean the
same; all units are multiples of 1024). A number without a unit is refused.`

// parseSize reads a size such as 40GiB; 40G and 40GB are the same. It has a unit:
// 40 could be bytes, and could be GiB.
func parseSize(s string) (int64, error) {
	s = strings.TrimSpace(s)
	number := strings.TrimRight(s, "BbIiKkMmGgTtPp")
	suffix := strings.ToUpper(s[len(number):])
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(v) || v < 0 {
		return 0, fmt.Errorf("%q is not a size such as 40GiB", s)
	}
	if suffix == "" {
		return 0, fmt.Errorf("%q has no unit; write %sGiB, %sMiB or %sB", s, number, number, number)
	}
	for i, u := range units {
		if suffix != strings.ToUpper(u) && suffix != u[:1] && suffix != u[:1]+"B" {
			continue
		}
		if n := v * float64(int64(1)<<(10*i)); n <= math.MaxInt64/2 {
			return int64(math.Ceil(n)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a size such as 40GiB", s)
}

// sizeFlag is a flag that takes a size in bytes. The zero value is no size.
type sizeFlag struct {
	n           *int64
	least, most int64 // 0: no limit but that it is more than nothing
	unit        int64 // a size is rounded up to a multiple of it, and stored as their number; 0 is 1
	rate        bool  // it may end in /s
}

func (f sizeFlag) Type() string { return "size" }

func (f sizeFlag) String() string {
	if f.n == nil || *f.n == 0 {
		return ""
	}
	return size(*f.n * max(f.unit, 1))
}

func (f sizeFlag) Set(s string) error {
	text := s
	if f.rate {
		text = strings.TrimSuffix(s, "/s")
	}
	n, err := parseSize(text)
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%q is not a size such as 40GiB", s)
	case n < f.least || f.most > 0 && n > f.most:
		return fmt.Errorf("want %s to %s", size(f.least), size(f.most))
	}
	*f.n = (n + max(f.unit, 1) - 1) / max(f.unit, 1)
	return nil
}

// partSizeFlag adds a flag for the size of a part.
func partSizeFlag(fl *pflag.FlagSet, n *int64, usage string) {
	fl.Var(sizeFlag{n: n, least: uploader.MinPartSize, most: uploader.MaxPartSize}, "part-size", usage)
}

// rateFlag adds a flag for the bytes per second.
func rateFlag(fl *pflag.FlagSet, n *int64) {
	fl.Var(sizeFlag{n: n, rate: true}, "rate-limit", "upload at most this much per second, for instance 20MiB (default: no limit)")
}

// rate is the speed of n bytes in so many seconds, or nothing if that says nothing.
func rate(n int64, seconds float64) string {
	if seconds < 0.001 || n <= 0 {
		return ""
	}
	return size(int64(float64(n)/seconds)) + "/s"
}
