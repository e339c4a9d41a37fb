module quorum-operator.example/bed/pause

go 1.24.0
