package quickimport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage/httpfile"
	"github.com/fastimage/fastimage/rawimage/qcow2"
	"github.com/fastimage/fastimage/zvhd2"
)

// packedDisk is the real disk as QCOW2.
func packedDisk(t *testing.T) []byte {
	t.Helper()
	raw, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.qcow2"))
	require.NoError(t, err)
	defer f.Close()
	_, err = qcow2.Encode(context.Background(), f, bytes.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	data, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return data
}

// diskFiles are the real disk in three forms, by the path they are served at.
func diskFiles(t *testing.T) map[string][]byte {
	t.Helper()
	raw, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	_, err = zw.Write(raw)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	return map[string][]byte{"/disk.qcow2": packedDisk(t), "/disk.raw.gz": gz.Bytes(), "/disk.raw": raw}
}

// web serves files, with an ETag that can be changed.
type web struct {
	files  map[string][]byte
	etag   atomic.Int64
	ranges bool
	sent   atomic.Int64
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !s.ranges {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, s.etag.Load()))
	http.ServeContent(&counter{w, &s.sent}, r, "", time.Time{}, bytes.NewReader(data))
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func serveFiles(t *testing.T, ranges bool, files map[string][]byte) (*web, string) {
	t.Helper()
	s := &web{files: files, ranges: ranges}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL
}

func requireImage(t *testing.T, srv *imstest.Server, res *quickimport.Result) {
	t.Helper()
	f, err := os.Open(realDisk)
	require.NoError(t, err)
	defer f.Close()
	object, err := srv.ReadObject(res.Bucket, res.Key)
	require.NoError(t, err)
	zr, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
	require.NoError(t, err)
	defer zr.Close()
	require.Equal(t, diskHash(t, f), diskHash(t, io.NewSectionReader(zr, 0, zr.Size())))
	require.NotEmpty(t, res.ImageID)
}

// The same disk, wherever it is.
func TestRemoteSources(t *testing.T) {
	t.Parallel()
	files := diskFiles(t)
	raw, packed, gz := files["/disk.raw"], files["/disk.qcow2"], files["/disk.raw.gz"]
	with, withURL := serveFiles(t, true, files)
	_, withoutURL := serveFiles(t, false, files)
	for name, source := range map[string]func(srv *imstest.Server) quickimport.Source{
		"http qcow2":       func(*imstest.Server) quickimport.Source { return quickimport.HTTP(withURL + "/disk.qcow2?token=hush") },
		"http gzip":        func(*imstest.Server) quickimport.Source { return quickimport.HTTP(withURL + "/disk.raw.gz") },
		"http raw":         func(*imstest.Server) quickimport.Source { return quickimport.HTTP(withURL + "/disk.raw") },
		"http raw, stream": func(*imstest.Server) quickimport.Source { return quickimport.HTTP(withoutURL + "/disk.raw") },
		"object qcow2":     func(srv *imstest.Server) quickimport.Source { return object(t, srv, packed) },
		"verified qcow2": func(*imstest.Server) quickimport.Source {
			return verified(quickimport.HTTP(withURL+"/disk.qcow2"), packed)
		},
		"verified gzip": func(*imstest.Server) quickimport.Source {
			return verified(quickimport.HTTP(withURL+"/disk.raw.gz"), gz)
		},
		"verified stream": func(*imstest.Server) quickimport.Source {
			return verified(quickimport.HTTP(withoutURL+"/disk.raw"), raw)
		},
		"verified raw file": func(*imstest.Server) quickimport.Source { return verified(quickimport.File(realDisk), raw) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			res, err := cloudClient(t, srv).Import(context.Background(), source(srv), demo(srv.Bucket()))
			require.NoError(t, err)
			requireImage(t, srv, res)
		})
	}
	require.NotNil(t, with)
	require.NotContains(t, quickimport.HTTP("https://me:secret@host/x?token=hush").Name(), "secret")
	require.NotContains(t, quickimport.HTTP("https://me:secret@host/x?token=hush").Name(), "hush")
}

func object(t *testing.T, srv *imstest.Server, data []byte) quickimport.Source {
	require.NoError(t, srv.PutObject(srv.Bucket(), "in/disk.qcow2", bytes.NewReader(data)))
	return quickimport.Object(nil, srv.Bucket(), "in/disk.qcow2")
}

func verified(src quickimport.Source, data []byte) quickimport.Source {
	sum := sha256.Sum256(data)
	return quickimport.Verified(src, quickimport.Checksum{Algorithm: "sha256", Sum: sum[:]}, nil)
}

// Bytes that are not those of the checksum never become an image, and a file that
// is replaced midway neither.
func TestRemoteSourcesRefused(t *testing.T) {
	t.Parallel()
	files := diskFiles(t)
	_, withURL := serveFiles(t, true, files)
	_, withoutURL := serveFiles(t, false, files)
	other := []byte("other bytes")
	for name, src := range map[string]quickimport.Source{
		"qcow2":  verified(quickimport.HTTP(withURL+"/disk.qcow2"), other),
		"gzip":   verified(quickimport.HTTP(withURL+"/disk.raw.gz"), other),
		"stream": verified(quickimport.HTTP(withoutURL+"/disk.raw"), other),
		"file":   verified(quickimport.File(realDisk), other),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			_, err := cloudClient(t, srv).Import(context.Background(), src, demo(srv.Bucket()))
			require.ErrorIs(t, err, quickimport.ErrChecksum)
			nothingLeft(t, srv)
		})
	}
	t.Run("replaced midway", func(t *testing.T) {
		t.Parallel()
		srv := imstest.NewServer(t)
		site, u := serveFiles(t, true, files)
		c := cloudClient(t, srv, onProgress(func(e quickimport.Progress) {
			if e.Phase == quickimport.PhaseUpload {
				site.etag.Store(2)
			}
		}))
		_, err := c.Import(context.Background(), quickimport.HTTP(u+"/disk.qcow2"), demo(srv.Bucket()))
		require.ErrorIs(t, err, httpfile.ErrChanged)
		nothingLeft(t, srv)
	})
	t.Run("needs ranges", func(t *testing.T) {
		t.Parallel()
		srv := imstest.NewServer(t)
		_, err := cloudClient(t, srv).Import(context.Background(), quickimport.HTTP(withoutURL+"/disk.qcow2"), demo(srv.Bucket()))
		require.ErrorIs(t, err, quickimport.ErrNotSeekable)
		nothingLeft(t, srv)
	})
}

func TestNBDSource(t *testing.T) {
	t.Parallel()
	tool := qemutest.Oracle(t, "qemu-nbd")
	dir, err := os.MkdirTemp("", "nbd") // the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(tool, "-k", socket, "-f", "raw", "-r", "-t", "-e", "4", realDisk)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket) // there before it listens
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, time.Millisecond)
	srv := imstest.NewServer(t)
	src := quickimport.NBD("nbd+unix:///?socket="+socket, "snapshot-1")
	res, err := cloudClient(t, srv).Import(context.Background(), src, demo(srv.Bucket()))
	require.NoError(t, err)
	requireImage(t, srv, res)
}

func TestChecksums(t *testing.T) {
	t.Parallel()
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("x")))
	c, err := quickimport.ParseChecksum("SHA256:" + sum)
	require.NoError(t, err)
	require.Equal(t, "sha256:"+sum, c.String())
	for _, bad := range []string{"", sum, "sha256:", "sha256:" + sum[1:], "crc32:00000000", "sha512:" + sum, "sha256:" + strings.Replace(sum, sum[:1], "g", 1)} {
		_, err := quickimport.ParseChecksum(bad)
		var o *quickimport.OptionError
		require.ErrorAs(t, err, &o, bad)
	}
	other := strings.Repeat("0", 64)
	_, u := serveFiles(t, true, map[string][]byte{
		"/gnu":   []byte("# comment\n" + other + "  other.img\n" + sum + " *sub/disk.img\n"),
		"/bsd":   []byte("SHA256 (disk.img) = " + sum + "\n"),
		"/one":   []byte(sum + "\n"),
		"/two":   []byte(sum + "  disk.img\n" + other + "  disk.img\n"),
		"/none":  []byte(other + "  other.img\n"),
		"/long":  bytes.Repeat([]byte("a"), 100<<10),
		"/bytes": {0, 1, 2},
	})
	for _, path := range []string{"/gnu", "/bsd", "/one"} {
		c, err := quickimport.FetchChecksum(context.Background(), u+path, "dir/disk.img")
		require.NoError(t, err, path)
		require.Equal(t, "sha256:"+sum, c.String())
	}
	for _, path := range []string{"/two", "/none", "/long", "/bytes", "/missing"} {
		_, err := quickimport.FetchChecksum(context.Background(), u+path, "disk.img")
		require.Error(t, err, path)
	}
}

// scattered is a disk of 100 GiB with data of random lengths at random places.
type scattered struct {
	ranges [][2]int64
	noise  []byte
}

func newScattered(data int64) *scattered {
	s := &scattered{noise: noise(1 << 20)}
	rnd := rand.New(rand.NewPCG(3, 4))
	for pos, left := int64(0), data; left > 0; {
		n := min(left, 4096+rnd.Int64N(8<<20))
		s.ranges = append(s.ranges, [2]int64{pos, pos + n})
		left -= n
		pos += n + rnd.Int64N((100<<30-data)*9/10/(data/(4<<20)+1))
	}
	return s
}

func (s *scattered) NextData(off int64) (start, end int64, err error) {
	for _, r := range s.ranges {
		if r[1] > off {
			return max(r[0], off), r[1], nil
		}
	}
	return 0, 0, io.EOF
}

func (s *scattered) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for _, r := range s.ranges {
		for pos := max(r[0], off); pos < min(r[1], off+int64(len(p))); {
			pos += int64(copy(p[pos-off:min(r[1]-off, int64(len(p)))], s.noise[pos%(1<<20):]))
		}
	}
	return len(p), nil
}

// Of a large sparse QCOW2 its tables and its data are read, and hardly more.
func TestNetworkBytes(t *testing.T) {
	t.Parallel()
	data := int64(64 << 20)
	if os.Getenv("FASTIMAGE_LONG") != "" {
		data = 4 << 30
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.qcow2"))
	require.NoError(t, err)
	defer f.Close()
	ctx := context.Background()
	sum, err := qcow2.Encode(ctx, f, newScattered(data), 100<<30)
	require.NoError(t, err)
	var sent atomic.Int64
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		http.ServeContent(&counter{w, &sent}, r, "", time.Time{}, io.NewSectionReader(f, 0, sum.FileSize))
	}))
	defer h.Close()
	c, err := quickimport.Open(ctx, quickimport.HTTP(h.URL+"/disk.qcow2"))
	require.NoError(t, err)
	defer c.Close()
	disk, done := c.ReadAhead(ctx)
	defer done()
	_, err = zvhd2.Encode(ctx, io.Discard, disk, c.Size(), zvhd2.WithLevel(zvhd2.LevelFastest))
	require.NoError(t, err)
	ratio := float64(sent.Load()) / float64(sum.FileSize)
	t.Logf("%d bytes of a file of %d: %.4f", sent.Load(), sum.FileSize, ratio)
	require.LessOrEqual(t, ratio, 1.02)
}
