// Eight programs, each in a folder of its own: README.md says what they show.
module example.org/jobqueue-examples

go 1.25.0

require jobqueue.dev/go v0.1.0

require (
	cloud.google.com/go/longrunning v0.7.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.40.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260706201446-f0a921348800 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800 // indirect
	google.golang.org/grpc v1.84.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace jobqueue.dev/go => ../../clients/go
