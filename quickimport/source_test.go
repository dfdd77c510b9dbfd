package quickimport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
	"github.com/fastimage/fastimage/zvhd2"
)

// sparseDisk is a disk in memory that knows its holes, and counts what is read.
type sparseDisk struct {
	data []byte
	end  int64 // of the data; the rest is a hole
	read atomic.Int64
}

func (s *sparseDisk) ReadAt(p []byte, off int64) (int, error) {
	s.read.Add(int64(len(p)))
	return bytes.NewReader(s.data).ReadAt(p, off)
}

func (s *sparseDisk) NextData(off int64) (start, end int64, err error) {
	if off >= s.end {
		return 0, 0, io.EOF
	}
	return off, s.end, nil
}

func dataImage(bucket string) quickimport.Image {
	return quickimport.Image{Name: "demo 1", Type: quickimport.TypeData, Bucket: bucket}
}

// A RAW or QCOW2 disk behind any io.ReaderAt is imported in place.
func TestImportDisk(t *testing.T) {
	t.Parallel()
	raw := append(noise(3<<20), make([]byte, 61<<20)...)
	var q growing
	_, err := qcow2.Encode(t.Context(), &q, bytes.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	for name, data := range map[string][]byte{"raw": raw, "qcow2": q.data} {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			src := &sparseDisk{data: data, end: int64(len(data))}
			if name == "raw" {
				src.end = 3 << 20
			}
			res, err := cloudClient(t, srv).Import(t.Context(), quickimport.Disk(src, int64(len(data)), quickimport.SourceInfo{Name: "snapshot-7"}), dataImage(srv.Bucket()))
			require.NoError(t, err)
			require.Equal(t, name, res.SourceFormat)
			require.Equal(t, int64(len(raw)), res.SourceBytes)
			require.Equal(t, diskHash(t, bytes.NewReader(raw)), objectDisk(t, srv, res.Key))
			require.Less(t, src.read.Load(), int64(12<<20), "holes are not read")
		})
	}
}

// growing is a file in memory.
type growing struct {
	mu   sync.Mutex
	data []byte
}

func (g *growing) WriteAt(p []byte, off int64) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if need := off + int64(len(p)); need > int64(len(g.data)) {
		g.data = append(g.data, make([]byte, need-int64(len(g.data)))...)
	}
	return copy(g.data[off:], p), nil
}

// A disk or a ZVHD2 file that can only be read in order.
func TestImportStream(t *testing.T) {
	t.Parallel()
	raw := append(noise(3<<20), make([]byte, 4<<20+512)...)
	var container bytes.Buffer
	_, err := zvhd2.Encode(t.Context(), &container, bytes.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	padded := append(bytes.Clone(raw), make([]byte, 5<<20)...)
	for name, tt := range map[string]struct {
		data []byte
		size int64
		info quickimport.SourceInfo
		want []byte
		err  error
	}{
		"raw":                    {raw, int64(len(raw)), quickimport.SourceInfo{}, raw, nil},
		"raw, an upper bound":    {raw, int64(len(padded)), quickimport.SourceInfo{UpperBound: true}, padded, nil},
		"raw, no size":           {raw, 0, quickimport.SourceInfo{}, nil, quickimport.ErrSizeRequired},
		"raw, shorter than said": {raw, int64(len(padded)), quickimport.SourceInfo{}, nil, io.ErrUnexpectedEOF},
		"raw, longer than said":  {raw, 1 << 20, quickimport.SourceInfo{}, nil, zvhd2.ErrSource},
		"raw, over its bound":    {raw, 1 << 20, quickimport.SourceInfo{UpperBound: true}, nil, zvhd2.ErrSource},
		"zvhd2":                  {container.Bytes(), 0, quickimport.SourceInfo{}, raw, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			src := quickimport.Stream(bytes.NewReader(tt.data), tt.size, tt.info)
			c := cloudClient(t, srv)
			if tt.err == nil {
				_, err := c.Plan(t.Context(), src, dataImage(srv.Bucket()))
				require.NoError(t, err, "a plan does not use the stream up")
			}
			res, err := c.Import(t.Context(), src, dataImage(srv.Bucket()))
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
				nothingLeft(t, srv)
				return
			}
			require.NoError(t, err)
			require.Equal(t, diskHash(t, bytes.NewReader(tt.want)), objectDisk(t, srv, res.Key))
			_, err = c.Import(t.Context(), src, dataImage(srv.Bucket()))
			require.ErrorIs(t, err, quickimport.ErrStreamUsed)
		})
	}
}

// A source with an identity is resumed; one without is not, and not recorded.
func TestSourceIdentity(t *testing.T) {
	t.Parallel()
	data := append(noise(3<<20), make([]byte, 5<<20)...)
	for identity, recorded := range map[string]bool{"snapshot-7@2": true, "": false} {
		t.Run("identity="+identity, func(t *testing.T) {
			srv, dir := imstest.NewServer(t), t.TempDir()
			source := func() quickimport.Source {
				return quickimport.Stream(bytes.NewReader(data), int64(len(data)), quickimport.SourceInfo{Identity: identity})
			}
			c := cloudClient(t, srv, quickimport.WithStateDir(dir))
			first, err := c.Import(t.Context(), source(), dataImage(srv.Bucket()))
			require.NoError(t, err)
			again, err := c.Import(t.Context(), source(), dataImage(srv.Bucket()))
			if recorded {
				require.NoError(t, err)
				require.Equal(t, first, again)
			} else {
				require.ErrorIs(t, err, quickimport.ErrNameTaken)
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Empty(t, left)
			}
			require.Len(t, srv.Images(), 1)
		})
	}
}

// A source whose check says that it changed leaves nothing.
func TestSourceCheck(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	changed := errors.New("the snapshot was removed")
	src := quickimport.Disk(bytes.NewReader(noise(3<<20)), 3<<20, quickimport.SourceInfo{CheckUnchanged: func() error { return changed }})
	_, err := cloudClient(t, srv).Import(t.Context(), src, dataImage(srv.Bucket()))
	require.ErrorIs(t, err, changed)
	nothingLeft(t, srv)
}

// A caller's mistake is no damage of a file.
func TestSourceMistakes(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv)
	for name, src := range map[string]quickimport.Source{
		"nil": nil, "nil reader": quickimport.Disk(nil, 5, quickimport.SourceInfo{}), "negative size": quickimport.Disk(strings.NewReader("x"), -1, quickimport.SourceInfo{}),
		"nil stream": quickimport.Stream(nil, 5, quickimport.SourceInfo{}), "negative stream": quickimport.Stream(strings.NewReader("x"), -1, quickimport.SourceInfo{}),
	} {
		_, err := c.Import(t.Context(), src, demo(srv.Bucket()))
		require.Error(t, err, name)
		require.NotErrorIs(t, err, quickimport.ErrValidation, name)
		if src != nil {
			require.ErrorIs(t, err, fs.ErrInvalid, name)
		}
	}
	require.Empty(t, srv.Requests())
}

// A stream whose Read blocks can be cancelled.
func TestStalledStreamIsCancelled(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = w.Write(make([]byte, 100))
		cancel()
	}()
	_, err := cloudClient(t, srv).Import(ctx, quickimport.Stream(r, 5<<20, quickimport.SourceInfo{}), dataImage(srv.Bucket()))
	require.ErrorIs(t, err, context.Canceled)
	nothingLeft(t, srv)
}

// An option that has no effect in a call is an error before anything is sent.
func TestUselessOptions(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	type opts = []quickimport.ImportOption
	container := kinds(t)[3].file
	for name, tt := range map[string]struct {
		file string
		opts opts
		want string
	}{
		"level with raw":          {realDisk, opts{quickimport.WithFormat(quickimport.FormatRaw), quickimport.WithLevel(zvhd2.LevelBest)}, "WithLevel"},
		"workers with raw":        {realDisk, opts{quickimport.WithFormat(quickimport.FormatRaw), quickimport.WithWorkers(2)}, "WithWorkers"},
		"bitmap with zvhd2":       {realDisk, opts{quickimport.WithBitmapFile("x.mf")}, "WithBitmapFile"},
		"delete without waiting":  {realDisk, opts{quickimport.WithDeleteObject(), quickimport.WithWait(false)}, "WithDeleteObject"},
		"resubmit without state":  {realDisk, opts{quickimport.WithResubmit()}, "WithResubmit"},
		"level with a ZVHD2 file": {container, opts{quickimport.WithLevel(zvhd2.LevelBest)}, "WithLevel"},
		"part size":               {realDisk, opts{quickimport.WithPartSize(1)}, "WithPartSize"},
		"workers":                 {realDisk, opts{quickimport.WithWorkers(0)}, "WithWorkers"},
		"guest check":             {realDisk, opts{quickimport.WithGuestCheck("maybe")}, "WithGuestCheck"},
	} {
		for _, run := range []func() error{
			func() error {
				_, err := cloudClient(t, srv).Client.Import(t.Context(), quickimport.File(tt.file), demo(srv.Bucket()), tt.opts...)
				return err
			},
			func() error {
				_, err := cloudClient(t, srv).Client.Plan(t.Context(), quickimport.File(tt.file), demo(srv.Bucket()), tt.opts...)
				return err
			},
		} {
			err := run()
			var o *quickimport.OptionError
			require.ErrorAs(t, err, &o, name)
			require.ErrorIs(t, err, quickimport.ErrOption)
			require.Equal(t, tt.want, o.Option, name)
		}
	}
	img := demo(srv.Bucket())
	img.Key = "x.zvhd2"
	_, err := cloudClient(t, srv).Create(t.Context(), img, quickimport.WithFormat(quickimport.FormatRaw))
	require.ErrorIs(t, err, quickimport.ErrOption)
	_, err = cloudClient(t, srv).WaitJob(t.Context(), "j1", quickimport.WithWait(true))
	require.ErrorIs(t, err, quickimport.ErrOption)
	require.Empty(t, srv.Requests())
}
