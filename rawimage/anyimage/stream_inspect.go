package anyimage

import (
	"context"
	"errors"
	"io"

	"github.com/fastimage/fastimage/rawimage/disk"
)

// inspected is how much of a stream's start Inspect looks at: all that tells a
// truncated disk, and most of what tells its firmware.
const inspected = 1 << 20

// Inspect is [Disk.Inspect] for the first MiB of the disk, the rest taken for
// zeros: so it is quick, and does not see a partition table's copy at the end
// nor file systems further on, whose absence it does not report as problems. It
// does not disturb Read.
func (s *Stream) Inspect(ctx context.Context) (*disk.Info, error) {
	info, err := InspectStart(ctx, io.NewSectionReader(s, 0, min(s.Size(), inspected)), s.Size())
	if cut, ok := errors.AsType[*disk.TruncatedError](err); ok {
		cut.Name = s.Name()
	}
	return info, err
}

// InspectStart is [disk.Inspect] for a disk of size bytes of which only the
// start can be read. What lies further on is not reported as missing.
func InspectStart(ctx context.Context, start *io.SectionReader, size int64) (*disk.Info, error) {
	info, err := disk.Inspect(ctx, startOnly{start, size}, size)
	if info != nil {
		info.Problems = nil
	}
	return info, err
}

// startOnly is a disk of which only the start is at hand.
type startOnly struct {
	start *io.SectionReader
	size  int64
}

// ReadAt reads zeros after the start.
func (d startOnly) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	n := 0
	if off < d.start.Size() {
		var err error
		if n, err = d.start.ReadAt(p, off); err != nil && err != io.EOF {
			return n, err
		}
	}
	end := min(int64(len(p)), d.size-off)
	clear(p[n:end])
	if end < int64(len(p)) {
		return int(end), io.EOF
	}
	return len(p), nil
}
