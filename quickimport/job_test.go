package quickimport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// A job that fails is a typed error with all that the service says of it.
func TestJobErrorSaysEverything(t *testing.T) {
	tests := map[string]struct {
		answer string
		want   []string
		once   string // is said once
	}{
		"outer alone":          {`"error_code":"IMG.0057","fail_reason":"damaged","entities":{}`, []string{"IMG.0057 damaged"}, "damaged"},
		"nested alone":         {`"error_code":null,"fail_reason":null,"entities":{"error_code":"IMG.0058","error":"elsewhere"}`, []string{"IMG.0058 elsewhere"}, "elsewhere"},
		"addition alone":       {`"entities":{"addition_error_code":"IMG.0059","addition_error_msg":"too large"}`, []string{"IMG.0059 too large"}, "too large"},
		"all three":            {`"error_code":"IMG.0061","fail_reason":"system","entities":{"error_code":"IMG.0057","error":"file","addition_error_code":"IMG.0158","addition_error_msg":"format"}`, []string{"IMG.0061 system", "IMG.0057 file", "IMG.0158 format"}, "file"},
		"the same three times": {`"error_code":"IMG.0057","fail_reason":"damaged","entities":{"error_code":"IMG.0057","error":"damaged","addition_error_code":"IMG.0057","addition_error_msg":"damaged"}`, []string{"IMG.0057 damaged"}, "damaged"},
		"nothing":              {`"entities":{}`, []string{"job j1 failed"}, "failed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"job_id":"j1","status":"FAIL",%s}`, tt.answer)
			})
			_, err := c.WaitJob(t.Context(), "j1")
			var failed *quickimport.JobError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, quickimport.JobFail, failed.Job.Status)
			for _, w := range tt.want {
				require.ErrorContains(t, err, w)
			}
			require.Equal(t, 1, strings.Count(err.Error(), tt.once), err.Error())
		})
	}
}

// Each documented reason with which a job can end: the objects and the record
// go, the import can be done again.
func TestImportWhoseJobFails(t *testing.T) {
	for code, reason := range map[string]string{
		"IMG.0015": "The image quota is insufficient.", "IMG.0055": "The disk size is invalid.", "IMG.0056": "The OS version is invalid.",
		"IMG.0057": "The file is in the wrong format.", "IMG.0058": "The bucket is in another region.", "IMG.0059": "The file is too large.",
		"IMG.0069": "The bucket is not accessible.", "IMG.0121": "The object was not found.", "IMG.0158": "Only raw OR ZVHD2.", "IMG.0212": "The architecture is invalid.",
	} {
		for _, durable := range []bool{false, true} {
			t.Run(fmt.Sprint(code, "/durable=", durable), func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t)
				srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, JobCode: code, JobReason: reason})
				var opts []any
				if durable {
					opts = append(opts, quickimport.WithStateDir(t.TempDir()))
				}
				c := cloudClient(t, srv, opts...)
				_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
				var failed *quickimport.JobError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, []string{code, reason}, []string{failed.Job.ErrorCode, failed.Job.FailReason})
				require.ErrorContains(t, err, failed.Job.ID)
				nothingLeft(t, srv)
				_, err = c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
				require.NoError(t, err)
				require.Len(t, srv.Images(), 1)
			})
		}
	}
}

// States that are not known are waited out and passed on; progress is bounded.
func TestWaitJobPassesOnWhatTheServiceSays(t *testing.T) {
	answers := []string{
		`{"status":"QUEUED_SOMEWHERE","entities":{"process_percent":-5}}`, `{"status":"RUNNING","entities":{"process_percent":42.9,"current_task":"x"}}`,
		`{"status":"RUNNING","entities":{"process_percent":1e300}}`, `{"status":"SUCCESS","entities":{"process_percent":100,"image_id":"i1"}}`,
	}
	var n atomic.Int32
	var percents []int
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answers[n.Add(1)-1]) })
	job, err := c.Job(t.Context(), "j1")
	require.NoError(t, err)
	require.Equal(t, quickimport.JobStatus("QUEUED_SOMEWHERE"), job.Status)
	n.Store(0)
	job, err = c.WaitJob(t.Context(), "j1", onProgress(func(e quickimport.Progress) { percents = append(percents, e.Percent) }))
	require.NoError(t, err)
	require.Equal(t, "i1", job.Entities.ImageID)
	require.Equal(t, 0, percents[0])
	require.Equal(t, 42, percents[1])
	require.Equal(t, 100, percents[3])
	for _, p := range percents {
		require.True(t, p >= 0 && p <= 100, "%d", p)
	}
}

// Answers that are no answers, and ids that are no ids.
func TestJobRefusesNonsense(t *testing.T) {
	for name, body := range map[string]string{"no status": `{}`, "not JSON": `<html>`, "a list": `[]`, "success without an image": `{"status":"SUCCESS","entities":{}}`} {
		c := testClient(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		_, err := c.WaitJob(t.Context(), "j1")
		require.ErrorIs(t, err, quickimport.ErrProtocol, name)
	}
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) { t.Error("was asked") })
	for _, id := range []string{"", "a/b", "..", "a b", "a?b=c", strings.Repeat("x", 129), "é"} {
		_, err := c.Job(t.Context(), id)
		require.ErrorContains(t, err, "not a job id")
	}
}

// Errors that pass are waited out within the caller's deadline, longer than one
// request is repeated; when the deadline passes, the error says the job's id.
func TestWaitJobThroughTransientErrors(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	answer := func(w http.ResponseWriter, until int32) {
		switch k := n.Add(1); {
		case k <= until && k%2 == 0:
			w.WriteHeader(http.StatusBadGateway)
		case k <= until:
			panic(http.ErrAbortHandler)
		default:
			io.WriteString(w, `{"status":"SUCCESS","entities":{"image_id":"i1"}}`)
		}
	}
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 9) }) // one more than a request is tried
	job, err := c.WaitJob(t.Context(), "j1")
	require.NoError(t, err)
	require.Equal(t, "i1", job.Entities.ImageID)

	n.Store(0)
	c = testClient(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 1<<30) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.WaitJob(ctx, "j1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "job j1 continues in the cloud")
	require.ErrorIs(t, err, quickimport.ErrStoppedWaiting)
}

// The image is awaited until it is active, by option.
func TestAwaitActive(t *testing.T) {
	statuses := func(t *testing.T, srv *imstest.Server, list ...string) http.RoundTripper {
		var n atomic.Int32
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(r.URL.Path, "/v2/cloudimages") || r.URL.Query().Get("id") == "" {
				return http.DefaultTransport.RoundTrip(r)
			}
			status := list[min(int(n.Add(1)), len(list))-1]
			body := `{"images":[]}`
			switch status {
			case "503":
				return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}, Request: r}, nil
			case "":
			default:
				body = fmt.Sprintf(`{"images":[{"id":%q,"name":"demo 1","status":%q}]}`, r.URL.Query().Get("id"), status)
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
		})
	}
	tests := map[string]struct {
		list []string
		opts []any
		is   error
	}{
		"at once":           {[]string{"active"}, nil, nil},
		"after a while":     {[]string{"", "queued", "saving", "503", "something-new", "active"}, nil, nil},
		"killed":            {[]string{"queued", "killed"}, nil, quickimport.ErrImageFailed},
		"deleted":           {[]string{"queued", "deleted"}, nil, quickimport.ErrImageFailed},
		"never listed":      {[]string{""}, []any{quickimport.WithSettleTime(20 * time.Millisecond)}, quickimport.ErrNotFound},
		"not waited for":    {[]string{"killed"}, []any{quickimport.WithAwaitActive(false)}, nil},
		"no job waited for": {[]string{"killed"}, []any{quickimport.WithWait(false)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			opts := append(tt.opts, quickimport.WithTransport(statuses(t, srv, tt.list...)))
			_, err := cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			if tt.is == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.is)
			}
			require.Len(t, srv.Images(), 1)
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// All images are listed, however many pages they take.
func TestImagesOverManyPages(t *testing.T) {
	srv := ruleCloud(t)
	c := cloudClient(t, srv)
	want := map[string]bool{}
	for i := range 205 {
		status, code := post(t, srv, ruleFields(false, fields{"name": fmt.Sprintf("image-%03d", i)}))
		require.Equal(t, 200, status, code)
		want[fmt.Sprintf("image-%03d", i)] = true
	}
	before := len(srv.Requests())
	for range 2 { // it can be ranged over again
		got := map[string]bool{}
		for img, err := range c.Images(t.Context()) {
			require.NoError(t, err)
			require.False(t, got[img.Name], "%s comes twice", img.Name)
			require.NotEmpty(t, img.ID)
			require.Equal(t, "file,images:disk.raw", img.Origin)
			got[img.Name] = true
		}
		require.Equal(t, want, got)
	}
	require.Len(t, srv.Requests(), before+2*3, "pages of 100")
	n := 0
	for _, err := range c.Images(t.Context()) {
		require.NoError(t, err)
		if n++; n == 3 {
			break
		}
	}
	require.Len(t, srv.Requests(), before+2*3+1, "what is not ranged over is not asked for")

	srv.Fail(imstest.Fault{Service: imstest.IMS, Query: "marker", Status: 403, Code: "IMG.0013", Count: -1})
	var last error
	n = 0
	for _, err := range c.Images(t.Context()) {
		require.NoError(t, last, "an error comes last")
		last = err
		n++
	}
	require.ErrorIs(t, last, quickimport.ErrForbidden)
	require.Equal(t, 101, n)

	one, err := c.ImagesByName(t.Context(), "image-007")
	require.NoError(t, err)
	require.Len(t, one, 1)
	byID, err := c.ImageByID(t.Context(), one[0].ID)
	require.NoError(t, err)
	require.Equal(t, "image-007", byID.Name)
	_, err = c.ImageByID(t.Context(), "nope")
	require.True(t, errors.Is(err, quickimport.ErrNotFound))
}

// A service that gives the same page for ever does not keep us for ever.
func TestImagesOfAServiceThatRepeatsItself(t *testing.T) {
	var page strings.Builder
	for i := range 100 {
		fmt.Fprintf(&page, `,{"id":"i%d","status":"active"}`, i)
	}
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"images":[%s]}`, page.String()[1:]) })
	n := 0
	for _, err := range c.Images(t.Context()) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 100, n)
}
