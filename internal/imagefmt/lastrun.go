package imagefmt

import "sync/atomic"

// LastRun remembers the last answer of a NextData. Callers go through a disk in
// pieces and ask for each of them; without it, each question inside a long hole
// or a long range of data would go through the same tables. The zero value is
// ready for use, by any number of goroutines.
type LastRun struct{ p atomic.Pointer[foundRun] }

// foundRun: no data from hole to start, data to end.
type foundRun struct{ hole, start, end int64 }

// At returns the answer for off if it follows from the last one.
func (l *LastRun) At(off int64) (start, end int64, ok bool) {
	r := l.p.Load()
	if r == nil || off < r.hole || off >= r.end {
		return 0, 0, false
	}
	return max(off, r.start), r.end, true
}

// Set remembers the answer for off.
func (l *LastRun) Set(off, start, end int64) { l.p.Store(&foundRun{off, start, end}) }
