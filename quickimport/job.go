package quickimport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// JobStatus is the state of a job; values that are not listed here are kept
// and treated as not ended.
type JobStatus string

// The documented states.
const (
	JobInit    JobStatus = "INIT"    // waits
	JobRunning JobStatus = "RUNNING" // under way
	JobSuccess JobStatus = "SUCCESS" // ended, with an image
	JobFail    JobStatus = "FAIL"    // ended, without one
)

// Job is the state of an asynchronous job of the image service.
type Job struct {
	ID         string      `json:"job_id"`
	Type       string      `json:"job_type"` // what the job does, as the service names it
	Status     JobStatus   `json:"status"`
	BeginTime  string      `json:"begin_time"`  // RFC 3339, as the service writes it
	EndTime    string      `json:"end_time"`    // "" while it runs
	ErrorCode  string      `json:"error_code"`  // "" unless it failed
	FailReason string      `json:"fail_reason"` // "" unless it failed
	Entities   JobEntities `json:"entities"`    // the image, and the details of a failure
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

// jobID holds what comes from a server or a command line to what can stand in a path.
var jobID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,128}$`)

// Job reads a job's state. It asks /v1/cloudimages/job/{id}, which needs no
// project; installations that lack it answer 404 and are asked
// /v1/{project_id}/jobs/{id}.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	if !jobID.MatchString(id) {
		return nil, fmt.Errorf("quickimport: job %q: not a job id", id)
	}
	job := &Job{}
	err := c.get(ctx, "job", c.o.ims, "/v1/cloudimages/job/"+id, nil, job)
	if errors.Is(err, ErrNotFound) {
		project, perr := c.ProjectID(ctx)
		if perr != nil {
			return nil, errors.Join(err, perr)
		}
		err = c.get(ctx, "job", c.o.ims, "/v1/"+url.PathEscape(project)+"/jobs/"+id, nil, job)
	}
	if err != nil {
		return nil, err
	}
	if job.Status == "" {
		return nil, fmt.Errorf("quickimport: job %s: %w: no status", id, ErrProtocol)
	}
	job.ID = id
	return job, nil
}

// WaitJob follows a job to its end: success with an image id, or a
// [*JobError]. When ctx ends first the job goes on in the cloud, and the error
// says so. [WithProgress] is the only option: each poll is an event of [PhaseJob].
func (c *Client) WaitJob(ctx context.Context, id string, opts ...ImportOption) (*Job, error) {
	o, err := newImportOptions(opts)
	if err == nil {
		err = o.only("WaitJob", "WithProgress")
	}
	if err != nil {
		return nil, err
	}
	return c.waitJob(ctx, id, func(percent int) { o.progress(Event{Phase: PhaseJob, Percent: percent}) })
}

func (c *Client) waitJob(ctx context.Context, id string, report func(percent int)) (*Job, error) {
	for pause := c.o.pollMin; ; pause = min(pause*3/2, c.o.pollMax) {
		job, err := c.Job(ctx, id)
		if ctx.Err() != nil {
			return nil, stillRunning(id, ctx.Err())
		}
		if err != nil && !transient(err) {
			return nil, err
		}
		if err == nil {
			report(min(max(int(job.Entities.ProcessPercent), 0), 100))
			if done, err := job.ended(); done {
				return job, err
			}
		}
		if err := sleep(ctx, jitter(pause)); err != nil {
			return nil, stillRunning(id, err)
		}
	}
}

func stillRunning(id string, err error) error {
	return fmt.Errorf("quickimport: %w: %w (job %s goes on in the cloud; ask for it later by this id)", ErrStoppedWaiting, err, id)
}

func (j *Job) ended() (bool, error) {
	switch j.Status {
	case JobSuccess:
		if j.Entities.ImageID == "" {
			return true, fmt.Errorf("quickimport: job %s: %w: SUCCESS without an image id", j.ID, ErrProtocol)
		}
		return true, nil
	case JobFail:
		return true, &JobError{Job: *j}
	}
	return false, nil
}

// CreateImage asks for an image of an object that lies in the bucket and gives
// the id of the job that makes it. It sends nothing that breaks a documented
// rule ([Image.Validate]).
//
// The POST is not idempotent. An answer that says for certain that nothing was
// done (flow control, IMG.0060 and IMG.0194) is waited out. After a 5xx the
// image is looked up by its name, and the request is sent again only while
// there is none. When the answer was lost it is never sent again: the error
// matches [ErrUncertain].
func (c *Client) CreateImage(ctx context.Context, img Image) (jobID string, err error) {
	img = img.withDefaults()
	if err := img.Validate(); err != nil {
		return "", err
	}
	var failed error // an answer that leaves open whether anything was done
	err = c.retry(ctx, "create image", func() error {
		jobID, err = c.postCreate(ctx, img)
		if failed != nil && errors.Is(err, ErrNameTaken) {
			return uncertain(img.Name, errors.Join(failed, err)) // the first call may have taken it
		}
		if api := (*APIError)(nil); errors.As(err, &api) && api.StatusCode >= http.StatusInternalServerError {
			failed = err
			return c.afterServerError(ctx, img.Name, err)
		}
		return err
	}, func(err error) bool {
		var api *APIError
		return errors.As(err, &api) && api.Retryable && !errors.Is(err, ErrUncertain)
	})
	return jobID, err
}

func (c *Client) postCreate(ctx context.Context, img Image) (string, error) {
	var answer struct {
		JobID string `json:"job_id"`
	}
	err := c.do(ctx, call{op: "create image", method: http.MethodPost, endpoint: c.o.ims,
		path: "/" + c.o.apiVersion + "/cloudimages/quickimport/action", body: img.body()}, &answer)
	switch lost := (*url.Error)(nil); {
	case errors.As(err, &lost) && !notSent(err), errors.Is(err, ErrProtocol):
		return "", uncertain(img.Name, err)
	case err != nil:
		return "", err
	case !jobID.MatchString(answer.JobID):
		return "", uncertain(img.Name, fmt.Errorf("%w: job id %q", ErrProtocol, answer.JobID))
	}
	return answer.JobID, nil
}

// afterServerError decides what a 5xx left behind.
func (c *Client) afterServerError(ctx context.Context, name string, cause error) error {
	found, err := c.ImagesByName(ctx, name)
	if err != nil {
		return uncertain(name, errors.Join(cause, err))
	}
	if len(found) > 0 {
		return uncertain(name, fmt.Errorf("%w; yet an image of this name is there: %s (%s)", cause, found[0].ID, found[0].Status))
	}
	return cause
}

func uncertain(name string, err error) error {
	return fmt.Errorf("quickimport: %w: the request may have been carried out: look for an image named %q and at the region's running jobs before you try again: %w", ErrUncertain, name, err)
}

// awaitActive waits until the image is usable. An image that is not listed for
// as long as the settle time is an error: its job has failed, or somebody has
// removed it.
func (c *Client) awaitActive(ctx context.Context, id string) error {
	seen := time.Now()
	for pause := c.o.pollMin; ; pause = min(pause*3/2, c.o.pollMax) {
		img, err := c.ImageByID(ctx, id)
		switch {
		case err == nil && img.Status == ImageActive:
			return nil
		case err == nil && (img.Status == ImageKilled || img.Status == ImageDeleted):
			return fmt.Errorf("quickimport: image %s: %w: it is %s", id, ErrImageFailed, img.Status)
		case err == nil:
			seen = time.Now()
		case errors.Is(err, ErrNotFound):
			if time.Since(seen) > c.o.settle {
				return fmt.Errorf("%w: the job that made it has failed, or it was removed", err)
			}
		case !transient(err):
			return err
		}
		if serr := sleep(ctx, jitter(pause)); serr != nil {
			return fmt.Errorf("quickimport: image %s is made but not active yet: %w", id, serr)
		}
	}
}

// notSent tells errors that came before a single byte of the request left:
// the name was not resolved or the connection not made.
func notSent(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}
