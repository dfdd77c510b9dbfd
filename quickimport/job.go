package quickimport

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/internal/cloud"
)

// JobStatus is the state of a job, in upper case; values that are not listed here
// are kept and treated as not ended.
type JobStatus string

// The documented states.
const (
	JobInit    JobStatus = "INIT"    // waits
	JobRunning JobStatus = "RUNNING" // under way
	JobSuccess JobStatus = "SUCCESS" // ended, with an image
	JobFail    JobStatus = "FAIL"    // ended, without one
)

// Other words for the states that end a job, seen at services with the same API.
var (
	successStatus = []JobStatus{JobSuccess, "SUCCEEDED"}
	failStatus    = []JobStatus{JobFail, "FAILED", "FAILURE", "ERROR", "CANCELLED", "CANCELED", "ABORTED"}
	openStatus    = []JobStatus{JobInit, JobRunning, "PENDING", "QUEUED", "WAITING"}
)

// Failed reports whether the job has ended without an image.
func (s JobStatus) Failed() bool { return slices.Contains(failStatus, s) }

// Succeeded reports whether the job has ended with an image.
func (s JobStatus) Succeeded() bool { return slices.Contains(successStatus, s) }

func (s JobStatus) known() bool { return s.Failed() || s.Succeeded() || slices.Contains(openStatus, s) }

// Job is the state of an asynchronous job of the image service. What the service
// gives in another type than documented, or not at all, is empty.
type Job struct {
	ID         string      `json:"job_id"`
	Type       string      `json:"job_type"` // what the job does, as the service names it
	Status     JobStatus   `json:"status"`
	BeginTime  string      `json:"begin_time"`  // as the service writes it
	EndTime    string      `json:"end_time"`    // "" while it runs
	ErrorCode  string      `json:"error_code"`  // "" unless it failed
	FailReason string      `json:"fail_reason"` // "" unless it failed
	Entities   JobEntities `json:"entities"`    // the image, and the details of a failure

	redact  func(string) string // takes secrets out of texts; set before decoding
	percent float64             // as the service gave it: 0 to 1 or 0 to 100; negative if it gave none
}

// JobEntities is what a job works on and how far it has come.
type JobEntities struct {
	ImageID           string  `json:"image_id"`            // "" until the image exists
	ImageName         string  `json:"image_name"`          // as asked for
	CurrentTask       string  `json:"current_task"`        // as the service names it
	ProcessPercent    float64 `json:"process_percent"`     // 0 to 100
	ErrorCode         string  `json:"error_code"`          // "" unless the job failed
	Error             string  `json:"error"`               // its text
	AdditionErrorCode string  `json:"addition_error_code"` // the cause below ErrorCode, where there is one
	AdditionErrorMsg  string  `json:"addition_error_msg"`  // its text
}

func (j *Job) redactWith(f func(string) string) { j.redact = f }

// UnmarshalJSON reads what there is: only the status and the image's id matter,
// and nothing else may make a job unreadable.
func (j *Job) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	top := looseObject(v)
	if inner := looseObject(top["job"]); inner != nil && top["status"] == nil {
		top = inner
	}
	text := func(m map[string]any, key string) string {
		s := looseText(m[key])
		if j.redact != nil {
			s = j.redact(s)
		}
		return cloud.Clip(s)
	}
	e := looseObject(top["entities"])
	j.Type, j.BeginTime, j.EndTime = text(top, "job_type"), text(top, "begin_time"), text(top, "end_time")
	j.Status = JobStatus(strings.ToUpper(text(top, "status")))
	j.ErrorCode, j.FailReason = text(top, "error_code"), text(top, "fail_reason")
	j.Entities = JobEntities{
		ImageID: text(e, "image_id"), ImageName: text(e, "image_name"), CurrentTask: text(e, "current_task"),
		ErrorCode: text(e, "error_code"), Error: text(e, "error"),
		AdditionErrorCode: text(e, "addition_error_code"), AdditionErrorMsg: text(e, "addition_error_msg"),
	}
	setIfEmpty(&j.Entities.ImageID, text(top, "image_id"))
	j.percent = percentOf(e["process_percent"])
	j.Entities.ProcessPercent = scalePercent(j.percent, j.percent)
	j.fromSubJobs(e, text, 0)
	return nil
}

// fromSubJobs takes an image's id and the reason of a failure from the jobs below
// a job, where the job itself has none.
func (j *Job) fromSubJobs(e map[string]any, text func(map[string]any, string) string, depth int) {
	for _, key := range []string{"sub_jobs_result", "sub_jobs_list", "results", "sub_jobs"} {
		list, _ := e[key].([]any)
		for _, v := range list[:min(len(list), 16)] {
			sub := looseObject(v)
			below := looseObject(sub["entities"])
			setIfEmpty(&j.Entities.ImageID, text(below, "image_id"))
			setIfEmpty(&j.Entities.ImageID, text(sub, "image_id"))
			if code, reason := text(sub, "error_code"), text(sub, "fail_reason"); j.ErrorCode == "" && j.FailReason == "" {
				j.ErrorCode, j.FailReason = code, reason
			}
			if code, reason := text(below, "error_code"), text(below, "error"); j.Entities.ErrorCode == "" && j.Entities.Error == "" {
				j.Entities.ErrorCode, j.Entities.Error = code, reason
			}
			if depth < maxDepth {
				j.fromSubJobs(below, text, depth+1)
			}
		}
	}
}

// percentOf is a progress as the service gave it, bounded; negative if there is
// none.
func percentOf(v any) float64 {
	n, ok := looseNumber(v)
	if !ok || math.IsNaN(n) {
		return -1
	}
	return min(max(n, 0), 100)
}

// scalePercent is a progress of 0 to 100. The service's examples have fractions,
// its description a percentage: until a job has reported more than 1, it is a
// fraction.
func scalePercent(p, most float64) float64 {
	if p < 0 {
		return 0
	}
	if most <= 1 {
		return p * 100
	}
	return p
}

// jobID is what can be part of a path, of what comes from a server or a user.
var jobID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,128}$`)

// Job reads a job's state. There are two endpoints for that: one has the
// progress, but needs a right of its own and is missing on some clouds. If one
// is refused the other is asked, and the client remembers which works.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return c.readJob(ctx, id, c.o.retryBudget)
}

func (c *Client) readJob(ctx context.Context, id string, budget cloudBudget) (*Job, error) {
	if !jobID.MatchString(id) {
		return nil, pkg.Errorf("job %q: %w", id, ErrJobID)
	}
	endpoints := []func(context.Context, string, cloudBudget) (*Job, error){c.jobWithProgress, c.jobOfProject}
	first := int(c.jobEndpoint.Load())
	job, err := endpoints[first](ctx, id, budget)
	if otherEndpoint(err) {
		other, oerr := endpoints[1-first](ctx, id, budget)
		if oerr == nil {
			// A job that vanished is not found at either: then nothing is learned.
			c.jobEndpoint.Store(int32(1 - first))
			return other, nil
		}
		if !otherEndpoint(oerr) {
			err = oerr
		}
	}
	return job, err
}

// otherEndpoint reports whether the other endpoint may answer: any 4xx but those
// that both would give.
func otherEndpoint(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && api.StatusCode/100 == 4 && api.StatusCode != http.StatusUnauthorized && !api.Retryable
}

func (c *Client) jobWithProgress(ctx context.Context, id string, budget cloudBudget) (*Job, error) {
	return c.jobAt(ctx, id, "/v1/cloudimages/job/"+id, budget)
}

func (c *Client) jobOfProject(ctx context.Context, id string, budget cloudBudget) (*Job, error) {
	project, err := c.ProjectID(ctx)
	if err != nil {
		return nil, err
	}
	return c.jobAt(ctx, id, "/v1/"+url.PathEscape(project)+"/jobs/"+id, budget)
}

func (c *Client) jobAt(ctx context.Context, id, path string, budget cloudBudget) (*Job, error) {
	job := &Job{}
	if err := c.getWithin(ctx, budget, "job", c.o.ims, path, nil, job); err != nil {
		return nil, err
	}
	job.ID, job.redact = id, nil
	if job.Status == "" {
		return nil, pkg.Errorf("job %s: %w: no status", id, ErrProtocol)
	}
	return job, nil
}

// JobError is a job that ended without an image.
type JobError struct{ Job Job }

// Error implements error.
func (e *JobError) Error() string { return string(pkg) + ": " + e.Text() }

// Text is Error without the name of the package.
func (e *JobError) Text() string {
	j, s := e.Job, "job "+e.Job.ID+" failed"
	for _, p := range [][2]string{{j.ErrorCode, j.FailReason}, {j.Entities.ErrorCode, j.Entities.Error},
		{j.Entities.AdditionErrorCode, j.Entities.AdditionErrorMsg}} {
		// The same is often said at several places, with the code in front.
		code, reason := p[0], strings.TrimLeft(strings.TrimPrefix(p[1], p[0]), ": ")
		if reason != "" && strings.Contains(s, reason) {
			reason = ""
		}
		if strings.Contains(s, code) {
			code = ""
		}
		if part := strings.TrimSpace(code + " " + reason); part != "" {
			s += ": " + part
		}
	}
	return s
}
