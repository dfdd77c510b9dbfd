package quickimport_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// Whatever the record of a job looks like, an import whose image becomes active
// succeeds, and makes one image.
func TestImportThroughIncompleteJobRecords(t *testing.T) {
	t.Parallel()
	const all = -1
	job := func(f imstest.Fault) []imstest.Fault { f.Op = imstest.OpJob; return []imstest.Fault{f} }
	quirks := func(q ...imstest.Quirk) []imstest.Fault { return job(imstest.Fault{Quirks: q, Count: all}) }
	tests := map[string][]imstest.Fault{
		"404 just after creation":     job(imstest.Fault{Status: 404, Count: 4}),
		"404 for ever":                job(imstest.Fault{Status: 404, Count: all}),
		"404 after success":           job(imstest.Fault{Status: 404, State: "SUCCESS", Count: all}),
		"403 for ever":                job(imstest.Fault{Status: 403, Count: all}),
		"no image id":                 quirks(imstest.QuirkNoImageID),
		"the id only while running":   quirks(imstest.QuirkEarlyImageID),
		"the id of a sub-job":         quirks(imstest.QuirkSubJobImageID),
		"a list of entities":          quirks(imstest.QuirkEntitiesList),
		"entities in a string":        quirks(imstest.QuirkEntitiesString),
		"no entities":                 quirks(imstest.QuirkEntitiesNull),
		"no status":                   quirks(imstest.QuirkNoStatus),
		"an undocumented state":       job(imstest.Fault{JobStatus: "FINISHED", Count: all}),
		"success in lower case":       job(imstest.Fault{JobStatus: "success", State: "SUCCESS", Count: all}),
		"percent as a string":         quirks(imstest.QuirkPercentString),
		"percent as null":             quirks(imstest.QuirkPercentNull),
		"percent as an object":        quirks(imstest.QuirkPercentObject),
		"a fraction, numbers as text": quirks(imstest.QuirkPercentFraction, imstest.QuirkForeignTypes, imstest.QuirkLocalTimes),
		"a web page once":             job(imstest.Fault{Status: 200, Shape: imstest.ShapeHTML}),
		"an empty body once":          job(imstest.Fault{Status: 200, Shape: imstest.ShapeEmpty, Nth: 2}),
		"an error body once":          job(imstest.Fault{Status: 200, Shape: imstest.ShapeIMS, Code: "IMG.0061"}),
		"cut-off JSON, many times":    job(imstest.Fault{Status: 200, Shape: imstest.ShapeCutOff, Count: 9}),
		"a web page for ever":         job(imstest.Fault{Status: 200, Shape: imstest.ShapeHTML, Count: all}),
		"400 once":                    job(imstest.Fault{Status: 400}),
	}
	for name, faults := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			srv.Fail(faults...)
			res, err := cloudClient(t, srv, quickimport.WithSettleTime(time.Minute)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Len(t, srv.Images(), 1)
			require.Equal(t, srv.Images()[0].ID, res.ImageID)
			require.NotEmpty(t, res.JobID)
		})
	}
}

// A job that has failed is a failure wherever the service puts its reason, and
// whatever word it has for it.
func TestImportFindsTheReasonOfAFailedJob(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]imstest.Fault{
		"in the entities": {Quirks: []imstest.Quirk{imstest.QuirkEntitiesReason}},
		"in a sub-job":    {Quirks: []imstest.Quirk{imstest.QuirkSubJobReason}},
		"as objects":      {Quirks: []imstest.Quirk{imstest.QuirkErrorObjects}},
		"FAILED":          {JobStatus: "FAILED", State: "FAIL"},
		"error":           {JobStatus: "error", State: "FAIL"},
		"Cancelled":       {JobStatus: "Cancelled", State: "FAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			f.Op, f.Count = imstest.OpJob, -1
			srv.Fail(imstest.Fault{Op: imstest.OpCreate, JobCode: "IMG.0057", JobReason: "The file is damaged."}, f)
			res, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			var failed *quickimport.JobError
			require.ErrorAs(t, err, &failed)
			require.ErrorContains(t, err, "The file is damaged.")
			require.Equal(t, 1, strings.Count(err.Error(), "The file is damaged."), err.Error())
			require.Equal(t, failed.Job.ID, res.JobID, "the partial result")
			nothingLeft(t, srv)
		})
	}
}

// The endpoint that works is remembered.
func TestJobRemembersTheEndpointThatWorks(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 405} {
		var first, second atomic.Int32
		c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/cloudimages/job/") {
				first.Add(1)
				w.WriteHeader(status)
				return
			}
			second.Add(1)
			io.WriteString(w, `{"status":"RUNNING","entities":{}}`)
		})
		for range 3 {
			_, err := c.Job(t.Context(), "j1")
			require.NoError(t, err)
		}
		require.Equal(t, []int32{1, 3}, []int32{first.Load(), second.Load()}, "%d", status)
	}
}

// Flow control is waited out as long as the service says and the caller lets it;
// then nothing was created, and the object stays.
func TestFlowControlLastsUntilTheDeadline(t *testing.T) {
	t.Parallel()
	for _, f := range []imstest.Fault{
		{Status: 400, Code: "IMG.0060"}, {Status: 429, RetryAfter: "1"}, {Status: 503, Code: "APIGW.0308"}, {Status: 429, RetryAfter: "+1s", Shape: imstest.ShapeEmpty},
	} {
		t.Run(fmt.Sprint(f.Status, f.Code, f.RetryAfter), func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			f.Op, f.Count = imstest.OpCreate, 2
			srv.Fail(f)
			c := cloudClient(t, srv, quickimport.WithRetryBudget(0))
			began := time.Now()
			_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err, "longer than the retry budget")
			if f.RetryAfter != "" {
				require.GreaterOrEqual(t, time.Since(began), time.Second)
			}
			f.Count, f.RetryAfter = -1, "3600"
			srv.Fail(f)
			ctx, cancel := context.WithCancel(t.Context())
			c.opts = append(c.opts, quickimport.WithEvents(func(e quickimport.Event) {
				if r, ok := e.(quickimport.Retrying); ok && r.Request == "create image" {
					cancel()
				}
			}))
			img := demo(srv.Bucket())
			img.Name = "demo 2"
			_, err = c.Import(ctx, quickimport.File(realDisk), img)
			require.ErrorIs(t, err, quickimport.ErrFlowControl)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "was kept")
			require.Len(t, srv.Objects(srv.Bucket()), 2)
			require.Len(t, srv.Images(), 1)
		})
	}
}

// An error body of any form reaches the user: on one line, bounded, cut between
// runes and without secrets.
func TestErrorBodiesOfAnyForm(t *testing.T) {
	const token = "st-secret-token+/="
	creds := quickimport.StaticCredentials(quickimport.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: token})
	long := strings.Repeat("尺寸", 400)
	for name, tt := range map[string]struct{ body, want string }{
		"error object":    {`{"error":{"code":"IMG.0024","message":"bad type"}}`, "IMG.0024: bad type"},
		"error string":    {`{"error":"bad type"}`, "bad type"},
		"gateway":         {`{"error_code":"APIGW.0301","error_msg":"bad type","request_id":"r"}`, "APIGW.0301: bad type"},
		"flat":            {`{"code":"X.1","message":"bad type"}`, "X.1: bad type"},
		"badRequest":      {`{"badRequest":{"code":400,"message":"bad type"}}`, "400: bad type"},
		"objects":         {`{"error":{"code":{"value":"X.1"},"message":{"text":"bad type"}}}`, "X.1: bad type"},
		"list":            {`[{"code":"X.1","message":"bad type"}]`, "X.1: bad type"},
		"numbers":         {`{"error_code":17,"error_msg":42}`, "17: 42"},
		"xml":             {`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>bad type</Message></Error>`, "AccessDenied: bad type"},
		"web page":        {`<html><head><title>Login &amp; go</title></head></html>`, "Login & go"},
		"text":            {"bad\ntype\x1b[31m", "bad type [31m"},
		"nothing":         {"", "an empty answer"},
		"null":            {"null", "null"},
		"long":            {`{"error":{"code":"IMG.0024","message":"` + long + `"}}`, "尺寸..."},
		"secret":          {`{"error":{"message":"you sent ` + token + ` and ` + testSK + `"}}`, "(redacted)"},
		"secret in text":  {"X-Security-Token: " + token, "(redacted)"},
		"deep":            {strings.Repeat(`{"error":`, 5000) + `"x"` + strings.Repeat("}", 5000), ""},
		"secret in pages": {"<html><title>" + token + "</title>", "(redacted)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(400)
				io.WriteString(w, tt.body)
			}, quickimport.WithCredentials(creds))
			_, err := c.CreateImage(t.Context(), systemDisk())
			require.ErrorContains(t, err, tt.want)
			text := fmt.Sprintf("%v %+v", err, err)
			require.NotContains(t, text, token)
			require.NotContains(t, text, testSK)
			require.NotContains(t, text, "\n")
			require.NotContains(t, text, "\x1b")
			require.Less(t, len(err.Error()), 500)
			require.True(t, utf8.ValidString(text))
		})
	}
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://login.example.com/in?token="+token, http.StatusFound)
	}, quickimport.WithCredentials(creds))
	_, err := c.CreateImage(t.Context(), systemDisk())
	require.ErrorContains(t, err, "redirects to https://login.example.com/in")
	require.NotContains(t, err.Error(), token)
}

// A server that sends the request back unasked does not get the token into the
// application's log through net/http's own.
func TestUnsolicitedAnswersDoNotShowSecrets(t *testing.T) {
	const token = "st-very-secret"
	var out lockedBuffer
	old := log.Writer()
	log.SetOutput(&out)
	defer log.SetOutput(old)
	srv := imstest.NewServer(t, imstest.WithSecurityToken(token))
	srv.Fail(imstest.Fault{Service: imstest.IMS, Quirks: []imstest.Quirk{imstest.QuirkUnsolicited}, Count: -1})
	c := cloudClient(t, srv, quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
		AccessKey: srv.AccessKey(), SecretKey: srv.SecretKey(), SecurityToken: token})))
	_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.NotContains(t, out.String(), token)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Every error after the request names the job, and the partial result has it.
func TestErrorsAfterSubmissionNameTheJob(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]imstest.Fault{
		"no right to read jobs and images": {{Op: imstest.OpJob, Status: 403, Count: -1}, {Op: imstest.OpImages, Status: 403, Count: -1, After: imstest.OpCreate}},
		"the image is never listed":        {{Op: imstest.OpCreate, ListLate: -1}},
		"the record vanished, and it":      {{Op: imstest.OpCreate, ListLate: -1}, {Op: imstest.OpJob, Status: 404, Count: -1}},
		"the token ran out":                {{Service: imstest.IMS, Status: 401, Count: -1, After: imstest.OpCreate}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			srv.Fail(faults...)
			res, err := cloudClient(t, srv, quickimport.WithSettleTime(50*time.Millisecond)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.Error(t, err)
			require.ErrorContains(t, err, srv.Jobs()[0].ID)
			require.ErrorContains(t, err, "was kept")
			require.Equal(t, srv.Jobs()[0].ID, res.JobID)
			require.Len(t, srv.Objects(srv.Bucket()), 1)
		})
	}
}

// An os_version that the region does not list is refused with the closest values,
// and left to the service if the list cannot be read.
func TestOSVersions(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv)
	all, err := c.OSVersions(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, len(srv.OSVersions("")))
	arm, err := c.OSVersions(t.Context(), quickimport.ArchARM)
	require.NoError(t, err)
	require.Len(t, arm, len(srv.OSVersions("arm")))
	require.Equal(t, quickimport.OSVersion{Name: "Windows 10 64bit", Platform: "Windows", OSType: quickimport.OSWindows, Bits: 64}, all[0])

	img := demo(srv.Bucket())
	img.OSVersion = "debian 12"
	_, err = c.Plan(t.Context(), quickimport.File(realDisk), img)
	require.ErrorIs(t, err, quickimport.ErrOSVersion)
	problems := wholeProblems(t, err)
	require.Equal(t, []string{"os_version"}, fieldsOf(problems))
	require.Contains(t, problems[0].Suggestions, "Debian GNU/Linux 12 64bit")
	require.Equal(t, "IMG.0056", problems[0].Code)

	srv.Fail(imstest.Fault{Op: imstest.OpOSVersions, Status: 403, Count: -1})
	_, err = c.Plan(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
}

// Only private images take a name.
func TestNameOfAPublicImageIsFree(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	for _, visibility := range []string{"public", "shared"} {
		_, err := srv.AddImage(imstest.Image{Name: "demo 1", Visibility: visibility})
		require.NoError(t, err)
	}
	srv.Fail(imstest.Fault{Op: imstest.OpCreate, Drop: true})
	res, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Len(t, srv.Jobs(), 1)
	require.Equal(t, srv.Jobs()[0].ImageID, res.ImageID)
}

// Regions of clouds with other domains find their endpoints.
func TestRegionsFindTheirEndpoints(t *testing.T) {
	for region, want := range map[string][]string{
		"cn-north-4":  {"ims.cn-north-4.myhuaweicloud.com", "obs.cn-north-4.myhuaweicloud.com"},
		"eu-west-101": {"ims.eu-west-101.myhuaweicloud.eu", "obs.eu-west-101.myhuaweicloud.eu"},
		"eu-de":       {"ims.eu-de.otc.t-systems.com", "obs.eu-de.otc.t-systems.com"},
		"eu-ch2":      {"ims.eu-ch2.sc.otc.t-systems.com", "iam-pub.eu-ch2.sc.otc.t-systems.com"},
		"eu-west-0":   {"ims.eu-west-0.prod-cloud-ocb.orange-business.com", "oss.eu-west-0.prod-cloud-ocb.orange-business.com"},
		"my-region-1": {"ims.my-region-1.cloud.example", "obs.my-region-1.cloud.example"},
	} {
		var mu sync.Mutex
		hosts := map[string]bool{}
		opts := []quickimport.Option{
			quickimport.WithRegion(region), quickimport.WithRetryBudget(0),
			quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{AccessKey: "a", SecretKey: "s"})),
			quickimport.WithTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				hosts[strings.TrimPrefix(r.URL.Host, "images.")] = true
				return nil, io.ErrUnexpectedEOF
			})),
		}
		if region == "my-region-1" {
			opts = append(opts, quickimport.WithDomain("cloud.example"))
		}
		c, err := quickimport.New(opts...)
		require.NoError(t, err)
		_, err = c.Doctor(t.Context(), "images")
		require.NoError(t, err)
		for _, host := range want {
			require.Contains(t, hosts, host)
		}
		require.NoError(t, c.Close())
	}
}

// Rules that came with later editions.
func TestLaterRules(t *testing.T) {
	srv := imstest.NewServer(t)
	img := demo(srv.Bucket())
	for i := range 11 {
		img.Tags = append(img.Tags, fmt.Sprintf("k%d.v", i))
	}
	_, err := cloudClient(t, srv).Plan(t.Context(), quickimport.File(realDisk), img)
	require.Equal(t, quickimport.ReasonTooMany, wholeProblems(t, err)[0].Reason)
	img.Tags = img.Tags[:10]
	img.OSVersion = "Windows Server 2019 Standard 64bit"
	plan, err := cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestOff)).Plan(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	require.Contains(t, warningTexts(plan.Warnings), "windows: ")
	require.Contains(t, warningTexts(plan.Warnings), "stopped providing Windows images")
	img = demo(srv.Bucket())
	img.ImageTags = []quickimport.Tag{{Key: " key ", Value: " value "}}
	_, err = cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"key": "value"}, srv.Images()[0].Tags)
}

// Progress of 0 to 1 is a fraction until a job has reported more.
func TestProgressAsAFraction(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reported []string
		want     []int
	}{
		"fractions":            {[]string{"0.20", `"0.4"`, "null", "1"}, []int{20, 40, 0, 100}},
		"percentages":          {[]string{"0", "42", "1", "100"}, []int{0, 42, 1, 100}},
		"a percentage later":   {[]string{"0.5", "42.9", `"1"`}, []int{50, 42, 1}},
		"with a percent sign":  {[]string{`"7%"`, `"NaN"`, `"x"`}, []int{7, 0, 0}},
		"negative and endless": {[]string{"-5", "1e300"}, []int{0, 100}},
	} {
		var n atomic.Int32
		c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
			i := int(n.Add(1)) - 1
			if i == len(tt.reported) {
				io.WriteString(w, `{"status":"SUCCESS","entities":{"image_id":"i1","process_percent":null}}`)
				return
			}
			fmt.Fprintf(w, `{"status":"RUNNING","entities":{"process_percent":%s}}`, tt.reported[i])
		})
		var got []int
		_, err := c.WaitJob(t.Context(), "j1", onProgress(func(p quickimport.Progress) { got = append(got, p.Percent) }))
		require.NoError(t, err, name)
		require.Equal(t, tt.want, got[:len(tt.want)], name)
	}
}

// A state that is not documented is reported once, and waited out until the
// caller's deadline.
func TestUndocumentedStateIsReportedOnce(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Op: imstest.OpCreate, ListLate: -1}, imstest.Fault{Op: imstest.OpJob, JobStatus: "PONDERING", Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	var warned []quickimport.WarningCode
	polls := 0
	res, err := cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestOff), quickimport.WithEvents(func(e quickimport.Event) {
		switch e := e.(type) {
		case quickimport.Warned:
			warned = append(warned, e.Code)
		case quickimport.Progress:
			if e.Phase == quickimport.PhaseJob {
				if polls++; polls == 20 {
					cancel()
				}
			}
		}
	})).Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrStoppedWaiting)
	require.ErrorContains(t, err, srv.Jobs()[0].ID)
	require.Equal(t, srv.Jobs()[0].ID, res.JobID)
	require.Equal(t, []quickimport.WarningCode{quickimport.WarnUnknownStatus}, warned)
}

// wrapped is a transport that an application put around the default one.
type wrapped struct{ http.RoundTripper }

// New works where http.DefaultTransport was replaced.
func TestNewWithAWrappedDefaultTransport(t *testing.T) {
	old := http.DefaultTransport
	http.DefaultTransport = wrapped{old}
	defer func() { http.DefaultTransport = old }()
	srv := imstest.NewServer(t)
	c, err := quickimport.New(srv.Options()...)
	require.NoError(t, err)
	_, err = c.ProjectID(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
