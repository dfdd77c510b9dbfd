package qcow2

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxRunSteps bounds the slices of L2 tables that one call of NextData goes
// through to make a run of data longer. With the usual clusters that is 128 GiB
// of disk; what is longer comes in pieces. A caller that jumps between places
// looks at that much again for each jump: some ten milliseconds.
const maxRunSteps = 256

// run is what NextData found: no data from hole to start, data to end.
type run struct{ hole, start, end int64 }

// NextData returns the first range of data [start, end) at or after off:
// clusters stored, compressed or not, here or in a backing file. Everything
// outside such ranges reads as zeros. Adjacent clusters are one range; a very
// long one may come in pieces. Returns [io.EOF] when no data is left.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("qcow2: data at %d: %w", off, fs.ErrInvalid)
	}
	if r.closed.Load() {
		return 0, 0, ErrClosed
	}
	if off >= r.Size() {
		return 0, 0, io.EOF
	}
	// Callers go through a range in blocks and ask for each of them.
	if l := r.lastRun.Load(); l != nil && l.hole <= off && off < l.end {
		return max(off, l.start), l.end, nil
	}
	start, end, next, err := r.findData(off)
	if err != nil {
		return 0, 0, err
	}
	for steps := 0; next == end && end < r.Size() && steps < maxRunSteps; steps++ {
		s, e, n, err := r.stepData(end)
		if err != nil || s != end || s == e {
			// An error shows when the caller gets there.
			break
		}
		end, next = e, n
	}
	r.lastRun.Store(&run{off, start, end})
	return start, end, nil
}

// findData is the first data at or after off, as stepData has it.
func (r *Reader) findData(off int64) (start, end, next int64, err error) {
	for next = off; next < r.Size(); {
		start, end, next, err = r.stepData(next)
		if err != nil || start < end {
			return start, end, next, err
		}
	}
	return 0, 0, 0, io.EOF
}

// stepData looks at the run of clusters off is in: the data found there, which
// may be none, and where to look next.
func (r *Reader) stepData(off int64) (start, end, next int64, err error) {
	k, runEnd, err := r.run(off)
	switch {
	case err != nil:
		return 0, 0, 0, err
	case k == kindData:
		return off, runEnd, runEnd, nil
	case k == kindZero, r.backing == nil, off >= r.backing.Size():
		return off, off, runEnd, nil
	}
	start, end, err = r.backing.NextData(off)
	switch {
	case errors.Is(err, io.EOF):
		return off, off, runEnd, nil
	case err != nil:
		return 0, 0, 0, fmt.Errorf("qcow2: backing file: %w", err)
	case start >= runEnd:
		return off, off, runEnd, nil
	}
	end = min(end, runEnd)
	return start, end, end, nil
}
