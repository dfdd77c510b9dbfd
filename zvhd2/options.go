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
// functions, and each function says which options it uses; any other is an error
// that matches [fs.ErrInvalid], as a value out of range is.
type Option func(*options) error

type options struct {
	accepted  optionSet
	level     Level // 0: not given
	workers   int
	uuid      *[16]byte
	timestamp *time.Time
	progress  func(Progress)
	cacheSize int64
	maxDisk   int64
	reference *source
}

// optionSet is the options that a function uses.
type optionSet uint

const (
	optLevel optionSet = 1 << iota
	optWorkers
	optIdentity
	optProgress
	optCacheSize
	optMaxDiskSize
	optReference

	optsEncode = optLevel | optWorkers | optIdentity | optProgress
)

// use returns an error if the function at hand has no use for an option.
func (o *options) use(opt optionSet, name string) error {
	if o.accepted&opt == 0 {
		return invalid("%s has no effect here", name)
	}
	return nil
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
	return 0, invalid("level %q: want fastest, default, better, best or auto", name)
}

// WithLevel sets the compression level, [LevelFastest] to [LevelBest] or
// [LevelAuto]. The default is [LevelDefault]. For [Optimize] and [Recover] giving
// a level, any level, means that every block is recompressed; without it payloads
// that are canonical already are kept.
func WithLevel(l Level) Option {
	return func(o *options) error {
		if err := o.use(optLevel, "WithLevel"); err != nil {
			return err
		}
		if l < LevelFastest || l > LevelAuto {
			return invalid("level %d", int(l))
		}
		o.level = l
		return nil
	}
}

// WithWorkers sets the number of blocks that are processed at once, 1 to 1024.
// The default is GOMAXPROCS. Each takes about 10 MiB of memory; of a file to be
// read, no more run than its length justifies. It never changes the output.
func WithWorkers(n int) Option {
	return func(o *options) error {
		if err := o.use(optWorkers, "WithWorkers"); err != nil {
			return err
		}
		if n < 1 || n > 1024 {
			return invalid("%d workers: want 1 to 1024", n)
		}
		o.workers = n
		return nil
	}
}

// WithUUID sets the identity that a written container carries. The default is
// a random one (version 4); [Optimize] and [Recover] keep that of the input.
func WithUUID(id [16]byte) Option {
	return func(o *options) error {
		if err := o.use(optIdentity, "WithUUID"); err != nil {
			return err
		}
		o.uuid = &id
		return nil
	}
}

// WithTimestamp sets the time of creation that a written container carries, in
// whole seconds from 2000-01-01 to 2136. The default is now; [Optimize] and
// [Recover] keep that of the input.
func WithTimestamp(t time.Time) Option {
	return func(o *options) error {
		if err := o.use(optIdentity, "WithTimestamp"); err != nil {
			return err
		}
		if s := t.Unix() - epoch.Unix(); s < 0 || s > math.MaxUint32 {
			return invalid("timestamp %s: want the years 2000 to 2135", t.UTC().Format(time.RFC3339))
		}
		o.timestamp = &t
		return nil
	}
}

// WithProgress makes a function of this package call f about ten times a second
// while it runs and once more at its end. Calls do not overlap. The default,
// nil, reports nothing.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		if err := o.use(optProgress, "WithProgress"); err != nil {
			return err
		}
		o.progress = f
		return nil
	}
}

// WithCacheSize bounds the decoded blocks that a [Reader] keeps, in bytes, 0
// to 64 GiB; one block is kept whatever the limit. The default is 16 MiB.
func WithCacheSize(n int64) Option {
	return func(o *options) error {
		if err := o.use(optCacheSize, "WithCacheSize"); err != nil {
			return err
		}
		if n < 0 || n > 64<<30 {
			return invalid("cache of %d bytes: want 0 to 64 GiB", n)
		}
		o.cacheSize = n
		return nil
	}
}

// WithReference makes [Verify] compare the disk in the container with the disk of
// size bytes in r too, which may know its holes as the source of [Encode] may. By
// default nothing is compared.
func WithReference(r io.ReaderAt, size int64) Option {
	return func(o *options) error {
		if err := o.use(optReference, "WithReference"); err != nil {
			return err
		}
		src, err := newSource(r, size)
		o.reference = src
		return err
	}
}

// WithMaxDiskSize sets the largest disk that is decoded, in bytes, 1 to
// [MaxDiskSize]. A small file can claim a large disk, all of which would be
// written; a larger one is an [ErrUnsupported]. The default is 1 TiB, the largest
// disk that the cloud takes.
func WithMaxDiskSize(n int64) Option {
	return func(o *options) error {
		if err := o.use(optMaxDiskSize, "WithMaxDiskSize"); err != nil {
			return err
		}
		if n < 1 || n > MaxDiskSize {
			return invalid("disk limit of %d bytes: want 1 byte to 64 TiB", n)
		}
		o.maxDisk = n
		return nil
	}
}

const (
	defaultCacheSize = 16 << 20
	defaultMaxDisk   = 1 << 40
)

// newOptions applies opts for a function that uses the accepted ones.
func newOptions(opts []Option, accepted optionSet) (*options, error) {
	o := &options{
		accepted: accepted, workers: runtime.GOMAXPROCS(0), cacheSize: defaultCacheSize, maxDisk: defaultMaxDisk,
	}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// minBuffers is what block buffers may take whatever the length of the file, in
// bytes.
const minBuffers = 64 << 20

// workersFor returns how many workers a file deserves that has n blocks of
// blockSize bytes stored in size bytes. Each has buffers of two blocks or so, of
// which a small file may claim that they are large.
func (o *options) workersFor(n, blockSize, size int64) int {
	most := max(4*size, minBuffers) / (2 * blockSize)
	return int(max(1, min(int64(o.workers), n, most)))
}

// checkDisk returns an error for a disk that is too large to be decoded.
func (o *options) checkDisk(f *footer) error {
	if f.origSize > o.maxDisk {
		return format.Unsupported(offOrigSize, "orig_size", "the disk has %d bytes, the limit is %d", f.origSize, o.maxDisk)
	}
	return nil
}

// levelOrDefault returns the level to compress at.
func (o *options) levelOrDefault() Level {
	if o.level == 0 {
		return LevelDefault
	}
	return o.level
}

// identity returns the identity that the options give, else that of like, else a
// new one.
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
