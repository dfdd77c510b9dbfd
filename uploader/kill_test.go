package uploader_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("FASTIMAGE_UPLOAD_CHILD") != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if errors.Is(err, uploader.ErrLocked) {
				os.Exit(3)
			}
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	killConcurrency = 2
	killDataBytes   = 24 * mib
	killSize        = 52 * mib
)

func killSource() *sparse {
	return &sparse{data: noise(77, killDataBytes), at: 10 * mib, size: killSize}
}

// child is one upload in a process of its own.
func child() error {
	if os.Getenv("FASTIMAGE_UPLOAD_CHILD") == "memory" {
		return memoryUpload()
	}
	st, err := uploader.NewFileStore(os.Getenv("STATE"))
	if err != nil {
		return err
	}
	c, err := uploader.NewClient(uploader.WithEndpoint(os.Getenv("ENDPOINT")), uploader.WithRegion(testRegion),
		uploader.WithStaticCredentials(testAK, testSK, ""))
	if err != nil {
		return err
	}
	u, err := uploader.New(c, uploader.WithStore(st), uploader.WithFingerprint("disk"),
		uploader.WithConcurrency(killConcurrency), uploader.WithRateLimit(60*mib))
	if err != nil {
		return err
	}
	src := killSource()
	if os.Getenv("FASTIMAGE_UPLOAD_CHILD") == "stream" {
		_, err = u.UploadStream(context.Background(), "images", os.Getenv("KEY"), io.NewSectionReader(src, 0, src.size), killSize)
	} else {
		_, err = u.UploadReaderAt(context.Background(), "images", os.Getenv("KEY"), src, src.size)
	}
	return err
}

func startChild(t *testing.T, kind, endpoint, key, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FASTIMAGE_UPLOAD_CHILD="+kind, "ENDPOINT="+endpoint, "KEY="+key, "STATE="+dir)
	cmd.Stderr = &out
	require.NoError(t, cmd.Start())
	return cmd, &out
}

// TestKilled kills the uploading process at random moments until it is done.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := 4
	if long() {
		kills = 50
	}
	s := gateway(t)
	done := 0
	for round := 0; done < kills; round++ {
		kind := []string{"readerat", "stream"}[round%2]
		p, front := newProxy(t, s, 0)
		key := s.key()
		dir := t.TempDir()
		killed := 0
		for finished := false; !finished; {
			cmd, out := startChild(t, kind, front.endpoint, key, dir)
			exit := make(chan error, 1)
			go func() { exit <- cmd.Wait() }()
			var after <-chan time.Time
			if killed < 6 && done < kills {
				after = time.After(time.Duration(30+rand.IntN(500)) * time.Millisecond)
			}
			select {
			case err := <-exit:
				require.NoError(t, err, out.String())
				finished = true
			case <-after:
				require.NoError(t, cmd.Process.Kill())
				if err := <-exit; err == nil {
					finished = true // it was done before the signal came
				} else {
					killed++
					done++
				}
			}
		}
		require.True(t, bytes.Equal(killSource().bytes(), download(t, s, key)))
		requireClean(t, s, key, key)
		requireNoZeros(t, s)
		requireEmptyDir(t, dir)
		// Needed: the parts with data, 10 MiB to 34 MiB, and the zero object.
		const ps = 5 * mib
		needed := int64(5*ps + ps)
		sent := p.content.Load()
		assert.LessOrEqual(t, sent, needed+int64(killed)*killConcurrency*ps, "%d kills", killed)
		t.Logf("%s: %d kills, %.1f MiB sent, %.1f needed", kind, killed, float64(sent)/mib, float64(needed)/mib)
		require.NoError(t, s.client(t).DeleteObject(context.Background(), s.bucket, key))
	}
}

// TestTwoProcesses: one works, the other is told, nothing is mixed.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	key, dir := s.key(), t.TempDir()
	a, outA := startChild(t, "readerat", s.endpoint, key, dir)
	b, outB := startChild(t, "readerat", s.endpoint, key, dir)
	errA, errB := a.Wait(), b.Wait()
	won := 0
	for _, x := range []struct {
		err error
		out string
	}{{errA, outA.String()}, {errB, outB.String()}} {
		if x.err == nil {
			won++
			continue
		}
		var exit *exec.ExitError
		require.ErrorAs(t, x.err, &exit)
		assert.Equal(t, 3, exit.ExitCode(), x.out)
		assert.Contains(t, x.out, "in use by another upload")
	}
	assert.Equal(t, 1, won)
	require.True(t, bytes.Equal(killSource().bytes(), download(t, s, key)))
	requireClean(t, s, key, key)
	requireEmptyDir(t, dir)
}
