import pytest, torch
from lspo.lightning_modules import *
from lspo.problems import RunningSumProblems
pytestmark = pytest.mark.filterwarnings("ignore")
def test_limit1(make_run):
    with pytest.raises(ValueError, match="whole iterations"):
        make_run(trainer={"limit_train_batches": 1}).fit()
def test_validate_mid(make_run, tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint
    run = make_run([ModelCheckpoint(tmp_path/"s", filename="{step}", every_n_train_steps=1, save_top_k=-1)], trainer={"max_epochs":1,"enable_checkpointing":True}).fit()
    c = torch.load(tmp_path/"s"/"step=1.ckpt", weights_only=True)
    c["RolloutDataModule"]["queue"] = c["RolloutDataModule"]["queue"]*2
    torch.save(c, tmp_path/"two.ckpt")
    r = make_run(data={"val": {"h": RunningSumProblems(3)}})
    r.trainer.validate(r.policy, r.data, ckpt_path=tmp_path/"two.ckpt")
def test_layout_change(make_run, tmp_path):
    run = make_run(trainer={"max_epochs":3}, data={"minibatch_groups":8}).fit()
    run.trainer.save_checkpoint(tmp_path/"e.ckpt")
    r = make_run(trainer={"max_epochs":5}, data={"minibatch_groups":4}).fit(tmp_path/"e.ckpt")
    print("steps", r.trainer.global_step)
def test_group_size_change(make_run, tmp_path):
    run = make_run(trainer={"max_epochs":2}).fit(); run.trainer.save_checkpoint(tmp_path/"e.ckpt")
    make_run(trainer={"max_epochs":3}, data={"group_size":2}).fit(tmp_path/"e.ckpt")
def test_stop_at_collect_end(make_run, tmp_path):
    from lspo.collect import StopCollecting
    class S(RolloutCallback):
        def on_collect_end(self, t, m, r):
            if r.plan.iteration == 1: raise StopCollecting("x")
    run = make_run([S()])
    with pytest.raises(SystemExit): run.fit()
    c = torch.load(tmp_path/"stopped.ckpt", weights_only=True)["RolloutDataModule"]
    print("drawn", c["prompts"]["drawn"], "queue", len(c["queue"][0]))
    assert c["prompts"]["drawn"] == 12
def test_window(make_run):
    from lspo.sampling import *
    sizes=[]
    class S(RolloutCallback):
        def on_collect_start(self, t, m, p): sizes.append(p.round_prompts)
    make_run([S()], trainer={"max_epochs":4}, data={"selector": Chain(AccuracyBand(), LengthBand()), "pool":"window","min_pool":20,"round_prompts":None,"max_rounds":20}).fit()
    print(sizes); assert 0
