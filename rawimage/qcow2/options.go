package qcow2

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/fastimage/fastimage/internal/lru"
)

const (
	// defaultClusterCache bounds the decompressed clusters kept. Readers that
	// go through the disk in blocks smaller than a cluster come back to each
	// cluster a few times at once; 16 MiB is eight of the largest clusters.
	defaultClusterCache = 16 << 20
	// l2Cache bounds the slices of L2 tables kept: 64 of the largest, which
	// map 32 GiB at the usual cluster size.
	l2Cache = 4 << 20
	// sliceSize is the part of an L2 table read at once.
	sliceSize = 64 << 10
	// maxCache is the largest cache WithCacheSize takes.
	maxCache = 1 << 30
)

// blocks keeps parts of files. All images of a chain of backing files share one,
// so that its bound is that of the chain.
type blocks = lru.Cache[blockKey, []byte]

type blockKey struct {
	owner *Reader
	key   uint64
}

type options struct {
	dir       string
	fsys      fs.FS
	cacheSize int

	slices, clusters *blocks // of the image and its backing files
}

// Option changes how an image is read.
type Option func(*options) error

func newOptions(opts []Option) (*options, error) {
	o := &options{cacheSize: defaultClusterCache}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.dir != "" && o.fsys != nil {
		return nil, errors.New("qcow2: WithDir and WithFS exclude each other")
	}
	o.slices, o.clusters = lru.New[blockKey, []byte](l2Cache), lru.New[blockKey, []byte](int64(o.cacheSize))
	return o, nil
}

// WithDir allows backing files and external data files to be opened inside the
// directory dir. Names in the image are relative to it; absolute names are
// taken when they lead into it. Neither "..", nor an absolute name, nor a
// symbolic link leads out of it ([os.Root]). Default: an image that needs
// another file is refused as [ErrMissingFile].
func WithDir(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return errors.New("qcow2: WithDir: empty directory")
		}
		o.dir = dir
		return nil
	}
}

// WithFS is WithDir for a file system; its files must implement [io.ReaderAt].
// How far they are kept inside is the file system's affair: os.DirFS follows
// symbolic links that lead out of it, [os.Root.FS] does not. Default: none.
func WithFS(fsys fs.FS) Option {
	return func(o *options) error {
		if fsys == nil {
			return errors.New("qcow2: WithFS: no file system")
		}
		o.fsys = fsys
		return nil
	}
}

// WithCacheSize bounds the decompressed clusters that are kept, in bytes, from
// 0 to 1 GiB; at least one cluster is kept whatever the bound. Default:
// 16 MiB. An image and its backing files share the bound.
func WithCacheSize(n int) Option {
	return func(o *options) error {
		if n < 0 || n > maxCache {
			return fmt.Errorf("qcow2: WithCacheSize: %d is not in 0..%d", n, maxCache)
		}
		o.cacheSize = n
		return nil
	}
}
