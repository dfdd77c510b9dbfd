package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"

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

// parseSize reads 40GiB, 40G, 40GB (both binary too) or a plain number, which
// counts in the unit given.
func parseSize(s string, unit int64) (int64, error) {
	num := strings.TrimRight(strings.TrimSpace(s), "BbIiKkMmGgTtPp")
	suffix := strings.ToUpper(strings.TrimSpace(s)[len(num):])
	mult := unit
	if suffix != "" {
		mult = 1
		for i, u := range units {
			if suffix == strings.ToUpper(u) || suffix == u[:1] || (i > 0 && suffix == u[:1]+"B") {
				mult = 1 << (10 * i)
				suffix = ""
				break
			}
		}
		if suffix != "" {
			return 0, fmt.Errorf("%q is no size such as 40GiB", s)
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v*float64(mult) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is no size such as 40GiB", s)
	}
	return int64(math.Ceil(v * float64(mult))), nil
}

// parsePartSize reads --part-size and holds it to what the service takes.
func parsePartSize(s string) (int64, error) {
	n, err := parseSize(s, 1)
	if err != nil {
		return 0, usagef("--part-size: %w", err)
	}
	if n < uploader.MinPartSize || n > uploader.MaxPartSize {
		return 0, usagef("--part-size %s: want %s to %s", s, size(uploader.MinPartSize), size(uploader.MaxPartSize))
	}
	return n, nil
}

// gibFlag is a flag in whole GB, the unit of min_disk, that also takes 40GiB.
type gibFlag struct{ n *int }

func (f gibFlag) Type() string { return "size" }

func (f gibFlag) String() string {
	if f.n == nil || *f.n == 0 {
		return ""
	}
	return strconv.Itoa(*f.n) + "GiB"
}

func (f gibFlag) Set(s string) error {
	n, err := parseSize(s, 1<<30)
	if err != nil {
		return err
	}
	// Half a GB asked for must not become none.
	*f.n = int((n + 1<<30 - 1) >> 30)
	return nil
}

// sizeFlag is a flag in bytes that also takes 40GiB.
type sizeFlag int64

func (f *sizeFlag) Type() string { return "size" }

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*f), 10)
}

func (f *sizeFlag) Set(s string) error {
	n, err := parseSize(s, 1)
	if err == nil && n == 0 {
		err = fmt.Errorf("%q is no size such as 40GiB", s)
	}
	*f = sizeFlag(n)
	return err
}
