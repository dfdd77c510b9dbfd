package guest

type network struct{}
