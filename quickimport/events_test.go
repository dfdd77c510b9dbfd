package quickimport_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// recorded collects events, and notes two at once.
type recorded struct {
	events     []quickimport.Event
	inside     atomic.Int32
	concurrent atomic.Bool
}

func (r *recorded) option() quickimport.ImportOption {
	return quickimport.WithEvents(func(e quickimport.Event) {
		if r.inside.Add(1) != 1 {
			r.concurrent.Store(true)
		}
		r.events = append(r.events, e)
		r.inside.Add(-1)
	})
}

func eventsOf[T quickimport.Event](r *recorded) (out []T) {
	for _, e := range r.events {
		if e, ok := e.(T); ok {
			out = append(out, e)
		}
	}
	return out
}

// The events of an import have its id, come one at a time and end with Finished.
func TestEvents(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Op: imstest.OpJob, Status: 503}, imstest.Fault{Op: imstest.OpComplete, Status: 503}, imstest.Fault{Op: imstest.OpPutObject, Nth: 2, Status: 500})
	var r recorded
	res, err := cloudClient(t, srv, r.option(), quickimport.WithPartSize(5<<20)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.False(t, r.concurrent.Load())
	for _, e := range r.events {
		require.Equal(t, res.ImportID, e.Header().ImportID)
		require.False(t, e.Header().Time.IsZero())
	}
	finished := eventsOf[quickimport.Finished](&r)
	require.Len(t, finished, 1)
	require.Equal(t, finished[0], r.events[len(r.events)-1], "the last event")
	require.Equal(t, res, finished[0].Result)
	started, ended := eventsOf[quickimport.PhaseStarted](&r), eventsOf[quickimport.PhaseFinished](&r)
	require.Len(t, started, 5)
	require.Len(t, ended, 5)
	for i := range started {
		require.Equal(t, started[i].Phase, ended[i].Phase)
		require.NoError(t, ended[i].Err)
	}
	retries := eventsOf[quickimport.Retrying](&r)
	require.Len(t, retries, 2, "each once: %v", retries)
	for _, retry := range retries {
		require.NotEmpty(t, retry.Request)
		require.Equal(t, 1, retry.Attempt)
		require.Error(t, retry.Reason)
	}
	warned := eventsOf[quickimport.Warned](&r)
	require.Len(t, warned, len(res.Warnings))
	for i, w := range warned {
		require.Equal(t, res.Warnings[i], w.Warning)
		require.NotEmpty(t, w.Code)
	}
}

// Whatever goes wrong, and however early, the last event says so.
func TestFinishedIsGuaranteed(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	srv := imstest.NewServer(t)
	for name, run := range map[string]func(c testImporter) error{
		"no such file": func(c testImporter) error {
			_, err := c.Import(t.Context(), quickimport.File("nope"), demo(srv.Bucket()))
			return err
		},
		"no source": func(c testImporter) error { _, err := c.Import(t.Context(), nil, demo(srv.Bucket())); return err },
		"cancelled": func(c testImporter) error {
			_, err := c.Import(ended, quickimport.File(realDisk), demo(srv.Bucket()))
			return err
		},
		"refused plan": func(c testImporter) error {
			_, err := c.Plan(t.Context(), quickimport.File(realDisk), demo("no-such"))
			return err
		},
		"no such object": func(c testImporter) error { _, err := c.Create(t.Context(), demo(srv.Bucket()), c.opts...); return err },
		"no such job":    func(c testImporter) error { _, err := c.WaitJob(ended, "j1", c.opts...); return err },
		"useless option": func(c testImporter) error {
			c.opts = append(c.opts, quickimport.WithResubmit())
			_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			return err
		},
		"a trial that ran": func(c testImporter) error {
			_, err := c.Plan(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			return nil
		},
	} {
		var r recorded
		err := run(cloudClient(t, srv, r.option()))
		finished := eventsOf[quickimport.Finished](&r)
		require.Len(t, finished, 1, name)
		require.Equal(t, finished[0], r.events[len(r.events)-1], name)
		require.True(t, errors.Is(finished[0].Err, err) || err == nil, "%s: %v", name, err)
	}
}

// An import that resumes says from where.
func TestResumedEvent(t *testing.T) {
	t.Parallel()
	srv, dir := imstest.NewServer(t), t.TempDir()
	ctx, d := dying(t, dir, "verified", true)
	opts := append([]any{}, d.options()[0], d.options()[1])
	_, err := cloudClient(t, srv, opts...).Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, errDead)
	var r recorded
	res, err := cloudClient(t, srv, quickimport.WithStateDir(dir), r.option()).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	resumed := eventsOf[quickimport.Resumed](&r)
	require.Len(t, resumed, 1)
	require.Equal(t, "verified", resumed[0].Stage)
	require.Equal(t, res.ObjectBytes, resumed[0].Bytes)
}

type traceKey struct{}

// traceHandler notes log calls without the context of the import.
type traceHandler struct{ lost, calls *atomic.Int32 }

func (h traceHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h traceHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h traceHandler) WithGroup(string) slog.Handler            { return h }
func (h traceHandler) Handle(ctx context.Context, _ slog.Record) error {
	h.calls.Add(1)
	if ctx.Value(traceKey{}) != "trace-1" {
		h.lost.Add(1)
	}
	return nil
}

// Log calls have the caller's context, so that trace ids are kept.
func TestLogCallsCarryTheContext(t *testing.T) {
	t.Parallel()
	var lost, calls atomic.Int32
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Op: imstest.OpJob, Status: 503}, imstest.Fault{Op: imstest.OpPutObject, Nth: 2, Status: 500}, imstest.Fault{Op: imstest.OpCreate, Drop: true, ListLate: 1})
	c := cloudClient(t, srv, quickimport.WithLogger(slog.New(traceHandler{&lost, &calls})))
	_, err := c.Import(context.WithValue(t.Context(), traceKey{}, "trace-1"), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Positive(t, calls.Load())
	require.Zero(t, lost.Load())
}
