package zvhd2

import (
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"
)

// Option changes how a function of this package works. One type serves all
// functions; each option says which of them heed it.
type Option func(*options) error

type options struct {
	level     Level // 0: not asked for
	workers   int
	uuid      *[16]byte
	timestamp *time.Time
	progress  func(Progress)
	cacheSize int64
	against   *source
}

// Level selects how hard the compressor tries.
type Level int

// The levels are those of the compressor; [LevelAuto] moves between the first
// three, block by block.
const (
	LevelFastest Level = iota + 1 // the quickest
	LevelDefault                  // the default
	LevelBetter                   // smaller and slower
	LevelBest                     // the smallest and slowest

	// LevelAuto compresses harder while the output is the bottleneck and lighter
	// while the compressor is. Its output depends on timing; use a fixed
	// level where the same input must give the same bytes.
	LevelAuto
)

var levelNames = [...]string{LevelFastest: "fastest", LevelDefault: "default", LevelBetter: "better", LevelBest: "best", LevelAuto: "auto"}

// String returns the level's name in lower case.
func (l Level) String() string {
	if l < LevelFastest || l > LevelAuto {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

// ParseLevel is the inverse of [Level.String].
func ParseLevel(name string) (Level, error) {
	for l := LevelFastest; l <= LevelAuto; l++ {
		if levelNames[l] == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%w: level %q: want fastest, default, better, best or auto", ErrOption, name)
}

// WithLevel sets the compression level, [LevelFastest] to [LevelBest] or
// [LevelAuto]. The default is [LevelDefault]. For [Optimize] and [Recover] giving
// a level, any level, means that every block is compressed anew; without it payloads that
// are canonical already are carried over.
func WithLevel(l Level) Option {
	return func(o *options) error {
		if l < LevelFastest || l > LevelAuto {
			return fmt.Errorf("%w: level %d", ErrOption, int(l))
		}
		o.level = l
		return nil
	}
}

// WithWorkers sets the number of blocks that are worked on at once, 1 to 1024.
// The default is the number of processors Go uses. Memory grows by about
// 10 MiB with each. It never changes the output.
func WithWorkers(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 1024 {
			return fmt.Errorf("%w: %d workers: want 1 to 1024", ErrOption, n)
		}
		o.workers = n
		return nil
	}
}

// WithUUID sets the identity that a written container carries. The default is
// a random one (version 4); [Optimize] and [Recover] keep that of the input.
func WithUUID(id [16]byte) Option {
	return func(o *options) error {
		o.uuid = &id
		return nil
	}
}

// WithTimestamp sets the time of creation that a written container carries, in
// whole seconds from 2000-01-01 to 2136. The default is now; [Optimize] and
// [Recover] keep that of the input.
func WithTimestamp(t time.Time) Option {
	return func(o *options) error {
		if s := t.Unix() - epoch.Unix(); s < 0 || s > math.MaxUint32 {
			return fmt.Errorf("%w: timestamp %s: want the years 2000 to 2135", ErrOption, t.UTC().Format(time.RFC3339))
		}
		o.timestamp = &t
		return nil
	}
}

// WithProgress has f called about ten times a second while a function of this
// package runs and once more at its end. Calls do not overlap. The default,
// nil, reports nothing.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		o.progress = f
		return nil
	}
}

// WithCacheSize bounds the decoded blocks that a [Reader] keeps, in bytes, 0
// to 64 GiB. Fewer bytes than one block keep none. The default is 16 MiB.
func WithCacheSize(n int64) Option {
	return func(o *options) error {
		if n < 0 || n > 64<<30 {
			return fmt.Errorf("%w: cache of %d bytes: want 0 to 64 GiB", ErrOption, n)
		}
		o.cacheSize = n
		return nil
	}
}

// WithAgainst makes [Verify] compare the container with the disk of size bytes
// in r too, which may know its holes as the source of [Encode] may. The default
// compares with nothing.
func WithAgainst(r io.ReaderAt, size int64) Option {
	return func(o *options) error {
		if size <= 0 || size > MaxDiskSize {
			return fmt.Errorf("%w: comparison with %d bytes", ErrOption, size)
		}
		o.against = newSource(r, size)
		return nil
	}
}

const defaultCacheSize = 16 << 20

func newOptions(opts []Option) (*options, error) {
	o := &options{workers: runtime.GOMAXPROCS(0), cacheSize: defaultCacheSize}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// levelOrDefault is the level to compress at.
func (o *options) levelOrDefault() Level {
	if o.level == 0 {
		return LevelDefault
	}
	return o.level
}

// identity returns what the options say about identity, else that of like,
// else a new one.
func (o *options) identity(like *footer) (uuid [16]byte, stamp uint32) {
	switch {
	case o.uuid != nil:
		uuid = *o.uuid
	case like != nil:
		uuid = like.uuid
	default:
		_, _ = rand.Read(uuid[:]) // never fails
		uuid[6] = uuid[6]&0x0f | 0x40
		uuid[8] = uuid[8]&0x3f | 0x80
	}
	switch {
	case o.timestamp != nil:
		stamp = uint32(o.timestamp.Unix() - epoch.Unix())
	case like != nil:
		stamp = like.timestamp
	default:
		stamp = uint32(time.Now().Unix() - epoch.Unix())
	}
	return uuid, stamp
}
